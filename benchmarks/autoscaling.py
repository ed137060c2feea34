"""Autoscaling: the replicas of one version follow the load, on one machine and on two Ray nodes.

Many callers start at once, continue for a while, and all but one stop. On two nodes each replica
reserves so many cores that the first node has no room for all.

python -m benchmarks.autoscaling
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from matplotlib.figure import Figure

from benchmarks.report import Report, keep, show
from benchmarks.serving import APPLICATION, NAME, Server, server, settings, until, window
from testkit.load import load

CONCURRENCY = 48
BUSY_S = 45.0
QUIET_S = 90.0
QUIET_PAUSE_S = 0.2
SAMPLE_PERIOD_S = 0.5
AUTOSCALING = {
    "min_replicas": 1,
    "max_replicas": 3,
    "target_ongoing_requests": 8,
    "upscale_delay_s": 3,
    "downscale_delay_s": 10,
}
VERSION = "1.0.0"
FAR_CPUS = 2


@dataclass(frozen=True)
class Sample:
    """The number of running replicas at one moment."""

    elapsed_s: float
    replicas: int
    by_node: dict[str, int]
    """The number of replicas by the node's address."""


@dataclass(frozen=True)
class Scaling:
    """One version that is scaled up and down again."""

    samples: list[Sample]
    busy_until_s: float
    requests: int
    failed: int
    failures: list[str]
    longest_ms: float

    @property
    def most(self) -> Sample:
        """Return the first sample with the most replicas."""
        return max(self.samples, key=lambda each: each.replicas)

    @property
    def back_s(self) -> float:
        """Return when a single replica was left after the load, in seconds."""
        return next(
            sample.elapsed_s
            for sample in self.samples
            if sample.elapsed_s >= self.busy_until_s and sample.replicas == 1
        )


def run() -> Report:
    """Return the figures on one node and on two, with their plot."""
    scalings = {"one node": _measure(0, 0.1), "two nodes": _measure(FAR_CPUS, 1.0)}
    return Report(
        figures={name: _figures(each) for name, each in scalings.items()},
        facts={
            "concurrency": CONCURRENCY,
            "autoscaling": AUTOSCALING,
            **{
                name: {**vars(each), "samples": [vars(one) for one in each.samples]}
                for name, each in scalings.items()
            },
        },
        plot=_plot(scalings),
    )


def _measure(far_cpus: int, num_cpus: float) -> Scaling:
    version = {"version": "production", "autoscaling": AUTOSCALING, "num_cpus": num_cpus}
    args = settings([version])
    with server([VERSION]) as running:
        asyncio.run(running.deploy(args))
        with _second_node(running, far_cpus):
            return asyncio.run(_load_and_leave(running))


@contextmanager
def _second_node(running: Server, num_cpus: int) -> Iterator[None]:
    if num_cpus == 0:
        yield
        return
    with running.cluster.far_node(num_cpus):
        yield


async def _load_and_leave(running: Server) -> Scaling:
    began_s = time.monotonic()
    samples: list[Sample] = []
    watching = asyncio.create_task(_watch(running, began_s, samples))
    try:
        async with load(running.cluster.url, window(), CONCURRENCY) as busy:
            await asyncio.sleep(BUSY_S)
        busy_until_s = time.monotonic() - began_s
        async with load(running.cluster.url, window(), 1, QUIET_PAUSE_S) as quiet:
            await until(lambda: samples[-1].replicas == 1, "one replica again", QUIET_S)
            await asyncio.sleep(5 * SAMPLE_PERIOD_S)
    finally:
        watching.cancel()
    typer.echo(f"  replicas {[sample.replicas for sample in samples]}")
    return Scaling(
        samples=samples,
        busy_until_s=busy_until_s,
        requests=len(busy.took_ms) + len(quiet.took_ms),
        failed=len(busy.failures) + len(quiet.failures),
        failures=sorted({*busy.failures, *quiet.failures}),
        longest_ms=max(*busy.took_ms, *quiet.took_ms),
    )


async def _watch(running: Server, began_s: float, samples: list[Sample]) -> None:
    while True:
        applications = await asyncio.to_thread(running.applications)
        found = _replicas(applications)
        by_node = Counter(replica["node_ip"] for replica in found)
        samples.append(Sample(time.monotonic() - began_s, len(found), dict(by_node)))
        await asyncio.sleep(SAMPLE_PERIOD_S)


def _replicas(applications: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the running replicas of the version."""
    (deployment,) = applications[f"{APPLICATION}:{NAME}:{VERSION}"]["deployments"].values()
    return [replica for replica in deployment["replicas"] if replica["state"] == "RUNNING"]


def _figures(scaling: Scaling) -> dict[str, float]:
    return {
        "requests": scaling.requests,
        "failed": scaling.failed,
        "longest_ms": scaling.longest_ms,
        "most_replicas": scaling.most.replicas,
        "most_after_s": scaling.most.elapsed_s,
        "nodes_at_most": len(scaling.most.by_node),
        "back_to_one_after_s": scaling.back_s - scaling.busy_until_s,
    }


def _plot(scalings: Mapping[str, Scaling]) -> Figure:
    figure = Figure(figsize=(9, 3 * len(scalings)), layout="constrained")
    for axes, (name, scaling) in zip(
        figure.subplots(len(scalings), sharex=True), scalings.items(), strict=True
    ):
        times_s = [sample.elapsed_s for sample in scaling.samples]
        nodes = sorted({node for sample in scaling.samples for node in sample.by_node})
        axes.stackplot(
            times_s,
            *([sample.by_node.get(node, 0) for sample in scaling.samples] for node in nodes),
            labels=[f"on {node}" for node in nodes],
            step="post",
            alpha=0.7,
        )
        axes.axvspan(0, scaling.busy_until_s, color="grey", alpha=0.2, label="under load")
        axes.set(title=f"{name}, {CONCURRENCY} callers", ylabel="replicas", ylim=(0, 3.5))
        axes.legend(loc="upper right")
    axes.set(xlabel="s")
    return figure


def main() -> None:
    """Measure, print and keep the figures."""
    report = run()
    typer.echo(show(report))
    keep("autoscaling", report)


if __name__ == "__main__":
    typer.run(main)
