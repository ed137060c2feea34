"""The run over all dimensions, and its report of what grew."""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import typer
from matplotlib.figure import Figure

from benchmarks.growth.cost import Cost
from benchmarks.growth.dimensions import DIMENSIONS
from benchmarks.report import Report
from benchmarks.serving import SHAPE, make_network
from optimization.export.exporter import export_onnx

Key = tuple[str, str]
"""A dimension and its variant."""


def run(rounds: int = 3, seconds: int = 3) -> Report:
    """Return the cost of a request by dimension and size; medians over the rounds."""
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_onnx(make_network(seed=0), model, SHAPE)
        for cost in chain.from_iterable(
            dimension(model, rounds, seconds) for dimension in DIMENSIONS
        ):
            typer.echo(
                f"  round {cost.round}  {cost.dimension} {cost.size}, {cost.variant}:"
                f" p50 {cost.one.percentiles_ms[50]:.2f} ms,"
                f" CPU {cost.total_cpu_ms:.2f} ms/request, {cost.memory_mb:.0f} MB"
            )
            costs.append(cost)
    found = by_size(costs)
    return Report(
        figures={
            f"{dimension} {size}, {variant}": _figures(samples)
            for (dimension, variant), sizes in found.items()
            for size, samples in sizes.items()
        },
        facts={
            "rounds": rounds,
            "seconds": seconds,
            "costs": [cost.as_json() for cost in costs],
        },
        notes=_notes(found),
        plot=_plot(found),
    )


def by_size(costs: Sequence[Cost]) -> dict[Key, dict[int, list[Cost]]]:
    """Return all rounds of every size."""
    found: dict[Key, dict[int, list[Cost]]] = {}
    for cost in costs:
        sizes = found.setdefault((cost.dimension, cost.variant), {})
        sizes.setdefault(cost.size, []).append(cost)
    return {key: dict(sorted(sizes.items())) for key, sizes in found.items()}


def median_ratio(
    more: Sequence[Cost], fewer: Sequence[Cost], figure: Callable[[Cost], float]
) -> float:
    """Return one size's figure divided by another's, the median over the rounds."""
    base = {cost.round: figure(cost) for cost in fewer}
    return statistics.median(figure(cost) / base[cost.round] for cost in more)


def _p50_ms(cost: Cost) -> float:
    return cost.one.percentiles_ms[50]


def _cpu_ms(cost: Cost) -> float:
    return cost.total_cpu_ms


def _median(samples: Sequence[Cost], figure: Callable[[Cost], float]) -> float:
    return statistics.median(map(figure, samples))


def _figures(samples: Sequence[Cost]) -> dict[str, float]:
    return {
        "c1_p50_ms": _median(samples, _p50_ms),
        "c1_p95_ms": _median(samples, lambda each: each.one.percentiles_ms[95]),
        "c32_requests_per_s": _median(samples, lambda each: each.many.requests_per_s),
        "c32_cpu_ms_per_request": _median(samples, _cpu_ms),
        "idle_cores": _median(samples, lambda each: each.idle_cores),
        "memory_mb": _median(samples, lambda each: each.memory_mb),
    }


def _notes(found: Mapping[Key, Mapping[int, Sequence[Cost]]]) -> list[str]:
    lines = ["| | p50 of one caller | CPU a request, 32 callers | memory |", "|---|---:|---:|---:|"]
    for (dimension, variant), sizes in found.items():
        fewest, *_, most = sizes
        more, fewer = sizes[most], sizes[fewest]
        added_mb = _median(more, lambda each: each.memory_mb) - _median(
            fewer, lambda each: each.memory_mb
        )
        lines.append(
            f"| {dimension}, {variant}: {most} / {fewest}"
            f" | {median_ratio(more, fewer, _p50_ms):.2f} x"
            f" | {median_ratio(more, fewer, _cpu_ms):.2f} x"
            f" | {added_mb:+.0f} MB, {added_mb / (most - fewest):.3g} for each |"
        )
    return lines


def _plot(found: Mapping[Key, Mapping[int, Sequence[Cost]]]) -> Figure:
    dimensions = list(dict.fromkeys(dimension for dimension, _ in found))
    figure = Figure(figsize=(4 * len(dimensions), 7), layout="constrained")
    panels = figure.subplots(2, len(dimensions), squeeze=False)
    rows = (("p50 of one caller, ms", _p50_ms), ("CPU a request of 32 callers, ms", _cpu_ms))
    for row, (label, value) in zip(panels, rows, strict=True):
        for axes, dimension in zip(row, dimensions, strict=True):
            for (of, variant), sizes in found.items():
                if of == dimension:
                    points = [_median(samples, value) for samples in sizes.values()]
                    axes.plot(list(map(str, sizes)), points, marker="o", label=variant)
            axes.set(xlabel=dimension, ylabel=label, ylim=(0, None))
            axes.legend()
            axes.grid(alpha=0.3)
    return figure
