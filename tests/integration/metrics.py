"""What the cluster exports as metrics, read as a Prometheus server would."""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.cluster import Cluster

EXPORT_PERIOD_S = 10.0
"""How old the exported figures may be."""

# Not the sum and count of ray_serve_actual_batch_size: Ray exports histograms by the middle of each
# bucket, so that a batch of one adds 0.5 to the sum.
REQUESTS = "ray_serve_deployment_request_counter_total"
RUNS = "ray_serve_batches_processed_total"


@dataclass(frozen=True)
class Batches:
    """Runs of a version's model."""

    requests: float = 0.0
    """Predictions asked for over HTTP, in all runs together."""
    runs: float = 0.0

    @property
    def mean(self) -> float:
        """The mean batch."""
        return self.requests / self.runs


def batches(cluster: Cluster, application: str) -> dict[str, Batches]:
    """Return the exported runs of one application, by replica; dead ones may be among them."""
    with urllib.request.urlopen(cluster.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            is_run = name == RUNS
            is_request = name == REQUESTS and labels["route"] == "/api/ml/predict"
            if (is_run or is_request) and labels.get("application") == application:
                found.setdefault(labels["replica"], {REQUESTS: 0.0, RUNS: 0.0})[name] += value
    return {replica: Batches(each[REQUESTS], each[RUNS]) for replica, each in found.items()}


def since(before: Mapping[str, Batches], after: Mapping[str, Batches]) -> Batches:
    """Return the runs of all replicas between two readings."""
    fresh = Batches()
    changes = [(each, before.get(replica, fresh)) for replica, each in after.items()]
    return Batches(
        sum(now.requests - then.requests for now, then in changes),
        sum(now.runs - then.runs for now, then in changes),
    )
