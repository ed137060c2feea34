"""Latency of single requests, and throughput by number of callers."""

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.serving_peers.contestants import OURS
from benchmarks.serving_peers.measuring import Sample
from benchmarks.serving_peers.verdicts import ONE_CALLER, best, requests_per_s

SHOWN_PERCENT = 99.0


def plot(samples: Sequence[Sample], contestants: Sequence[str]) -> Figure:
    """Return both plots, with the best entry of each contestant."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for contestant in contestants:
        style = "-" if contestant in OURS else "--"
        one = best(samples, contestant, ONE_CALLER)
        if one is None:
            continue
        _draw_latencies(left, contestant, style, one.samples)
        _draw_throughput(right, contestant, style, samples)
    left.set(
        title="latency, one caller",
        xlabel="ms",
        ylabel="% of the requests",
        xscale="log",
        ylim=(0, 100),
    )
    right.set(
        title="throughput",
        xlabel="callers at once",
        ylabel="requests a second",
        xscale="log",
        ylim=(0, None),
    )
    right.set_xticks(callers := sorted({s.concurrency for s in samples}), labels=map(str, callers))
    right.minorticks_off()
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def _draw_latencies(axes: Axes, name: str, style: str, samples: Sequence[Sample]) -> None:
    """Draw the distribution; each percentile is the median over the rounds."""
    percents = [percent for percent in samples[0].load.percentiles_ms if percent <= SHOWN_PERCENT]
    medians_ms = [
        statistics.median(sample.load.percentiles_ms[percent] for sample in samples)
        for percent in percents
    ]
    axes.plot(medians_ms, percents, style, label=name)


def _draw_throughput(axes: Axes, name: str, style: str, samples: Sequence[Sample]) -> None:
    """Draw the best entry at each number of callers."""
    concurrencies = sorted({sample.concurrency for sample in samples})
    found = [(concurrency, best(samples, name, concurrency)) for concurrency in concurrencies]
    points = [(each, way.median(requests_per_s)) for each, way in found if way is not None]
    axes.plot(*zip(*points, strict=True), style, marker="o", markersize=3, label=name)
