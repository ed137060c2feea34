"""The metrics that a cluster exports, read as a Prometheus server would."""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from serve_app.monitoring.metrics import MODEL_RUNS, MODEL_WINDOWS, REQUESTS, TIMING
from testkit.cluster import Cluster

WINDOWS = MODEL_WINDOWS.exported_name
RUNS = MODEL_RUNS.exported_name
CALLS = "ray_serve_deployment_request_counter_total"


@dataclass(frozen=True)
class Batches:
    """Runs of a version's model."""

    requests: float = 0.0
    """The number of windows in all runs."""
    runs: float = 0.0

    @property
    def mean(self) -> float:
        """Return the mean batch size."""
        return self.requests / self.runs


def batches(cluster: Cluster, model: str) -> dict[str, Batches]:
    """Return the exported runs of `model:version`, by replica; dead ones may be among them."""
    found: dict[str, dict[str, float]] = {}
    for name, labels, value, *_ in samples(cluster):
        if name in (RUNS, WINDOWS) and labels["model"] == model:
            found.setdefault(labels["replica"], {WINDOWS: 0.0, RUNS: 0.0})[name] += value
    return {replica: Batches(each[WINDOWS], each[RUNS]) for replica, each in found.items()}


def calls_by_handle(cluster: Cluster, model: str) -> float:
    """Return the exported number of calls by Serve's handle to the replicas of `model:version`.

    After a change of its settings, a digest follows the version in the application's name.
    """
    return sum(
        value
        for name, labels, value, *_ in samples(cluster)
        if name == CALLS and f"{labels['application']}:".startswith(f"trading-models:{model}:")
    )


def predictions(cluster: Cluster) -> dict[str, float]:
    """Return the exported number of served requests for one window, by metric."""
    counted = {"requests": 0.0, "timings": 0.0, "largest bucket": 0.0}
    for name, labels, value, *_ in samples(cluster):
        if (name, labels.get("status")) == (REQUESTS.exported_name, "200"):
            counted["requests"] += value if labels["endpoint"] == "/api/ml/predict" else 0.0
        if name == f"{TIMING.exported_name}_count" and labels["section"] == "model":
            counted["timings"] += value
        if name == f"{TIMING.exported_name}_bucket" and labels["section"] == "model":
            counted["largest bucket"] += value if labels["le"] == "+Inf" else 0.0
    return counted


def samples(cluster: Cluster) -> list[Sample]:
    """Return all exported samples."""
    with urllib.request.urlopen(cluster.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def since(before: Mapping[str, Batches], after: Mapping[str, Batches]) -> Batches:
    """Return the runs of all replicas between two readings."""
    fresh = Batches()
    changes = [(each, before.get(replica, fresh)) for replica, each in after.items()]
    return Batches(
        sum(now.requests - then.requests for now, then in changes),
        sum(now.runs - then.runs for now, then in changes),
    )
