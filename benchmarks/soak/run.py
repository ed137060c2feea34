"""An hour of the default server at half its capacity: memory, descriptors, files and failures.

Predictions arrive at a fixed rate, half of them as JSON by plain HTTP and half through ModelClient.
Two versions alternate in production by promotions and reloads; experiments compare them, receive
outcomes, and are stopped and replaced; health, versions and experiments are read. Every process of
the server is sampled, and compared after the warm-up (the first sixth) and at the end.

python -m benchmarks.soak.run [--minutes 60] [--rate 100]
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Report, keep, show
from benchmarks.soak.growth import GOAL_PERCENT, Growth, Sample, growth
from benchmarks.soak.stack import Stack, Usage, stack
from benchmarks.soak.traffic import CALLERS, Traffic, traffic

MINUTES = 60.0
SAMPLE_EVERY_S = 10.0
CAPACITY_S = 20.0
"""The time for which the capacity is measured."""
SHARE = 0.5
"""The share of the capacity that is requested."""
PERIODS = 6
"""Periods of the run; the second one is compared with the last one."""
RELOAD_EVERY_S, EXPERIMENT_S = 60.0, 150.0
SHORT_RELOAD_S, SHORT_EXPERIMENT_S = 20.0, 35.0
"""The same for a run of less than ten minutes."""
KEPT_SAMPLES = 120
TOTAL = "all processes"


def run(minutes: float = MINUTES, rate_per_s: float | None = None) -> Report:
    """Return the growth by role, the calls and the sizes of files, and a plot of the samples."""
    with stack() as running:
        return asyncio.run(_soak(running, minutes * 60, rate_per_s))


async def _soak(running: Stack, duration_s: float, rate_per_s: float | None) -> Report:
    async with traffic(running) as callers:
        capacity_per_s = await callers.capacity_per_s(CAPACITY_S)
        rate_per_s = rate_per_s or SHARE * capacity_per_s
        typer.echo(f"  capacity {capacity_per_s:.0f}/s, load {rate_per_s:.0f}/s")
        await callers.load_versions()
        is_short = duration_s < 600
        callers.took_ms = callers.took_ms[:0]
        before, began_s = callers.predictions, time.monotonic()
        load = asyncio.create_task(
            callers.run(
                rate_per_s,
                duration_s,
                SHORT_RELOAD_S if is_short else RELOAD_EVERY_S,
                SHORT_EXPERIMENT_S if is_short else EXPERIMENT_S,
            )
        )
        samples: list[Sample] = []
        while not load.done():
            await asyncio.wait([load], timeout=SAMPLE_EVERY_S)
            samples.append(await asyncio.to_thread(_sample, running, began_s))
            typer.echo(_line(samples[-1], callers))
        await load
        sent_per_s = (callers.predictions - before) / (time.monotonic() - began_s)
    grown = growth(samples, duration_s / PERIODS)
    return Report(
        figures={
            **{role: _figures(found) for role, found in grown.items()},
            **{f"files: {what}": _sizes(samples, what) for what in samples[-1].disk_mb},
        },
        facts={
            "minutes": duration_s / 60,
            "capacity_per_s": capacity_per_s,
            "rate_per_s": sent_per_s,
            "calls": dict(callers.calls),
            "failures": dict(callers.failures),
            "events": running.events,
            "samples": _kept(samples),
        },
        notes=_notes(grown, callers, running, duration_s, (capacity_per_s, sent_per_s)),
        plot=_plot(samples, duration_s / PERIODS),
    )


def _sample(running: Stack, began_s: float) -> Sample:
    usage = running.usage()
    total = {TOTAL: Usage.sum(list(usage.values()))}
    return Sample(time.monotonic() - began_s, {**usage, **total}, running.disk_mb())


def _line(sample: Sample, callers: Traffic) -> str:
    total, gcs = sample.usage[TOTAL], sample.usage["gcs"]
    return (
        f"  {sample.elapsed_s:6.0f} s  {total.own_mb:.0f} MB  gcs {gcs.own_mb:.1f} MB"
        f"  descriptors {total.descriptors}  files {sum(sample.disk_mb.values()):.0f} MB"
        f"  predictions {callers.predictions}  failed {callers.failures.total()}"
    )


def _figures(found: Growth) -> dict[str, float]:
    return {
        "processes": found.processes,
        "before_mb": found.before_mb,
        "after_mb": found.after_mb,
        "growth_percent": found.percent,
        "pss_mb": found.pss_mb,
        "descriptors_before": found.descriptors_before,
        "descriptors_after": found.descriptors_after,
        "cpu_percent": found.cpu_percent,
    }


def _sizes(samples: Sequence[Sample], what: str) -> dict[str, float]:
    middle = samples[len(samples) // 2]
    return {"before_mb": middle.disk_mb[what], "after_mb": samples[-1].disk_mb[what]}


def _notes(
    grown: Mapping[str, Growth],
    callers: Traffic,
    running: Stack,
    duration_s: float,
    rates_per_s: tuple[float, float],
) -> list[str]:
    capacity_per_s, sent_per_s = rates_per_s
    beyond = [
        f"{role} ({found.percent:+.1f} %)"
        for role, found in grown.items()
        if found.percent > GOAL_PERCENT
    ]
    p50_ms, p99_ms = np.percentile(callers.took_ms, (50, 99))
    minutes = duration_s / 60
    period = minutes / PERIODS
    return [
        f"{minutes:g} minutes at {sent_per_s:.0f} predictions per second, of a capacity of "
        f"{capacity_per_s:.0f} with {2 * CALLERS} callers. `before` is the median of minutes "
        f"{period:g} to {2 * period:g}, `after` that of the last {period:g}; of files, the size at "
        f"half time and at the end. Memory is what the processes have allocated; `pss_mb` includes "
        f"the pages of files. `cpu_percent` is of one core.",
        "",
        f"Calls: {', '.join(f'{count} {kind}' for kind, count in sorted(callers.calls.items()))}.",
        f"Failures: {callers.failures.total()}. Latency of predictions: p50 {p50_ms:.1f} ms, "
        f"p99 {p99_ms:.0f} ms, longest {max(callers.took_ms):.0f} ms.",
        f"Growth beyond {GOAL_PERCENT:g} %: {', '.join(beyond) or 'none'}.",
        *(f"- {count} times {failure}" for failure, count in callers.failures.items()),
        *(f"- event: {line.strip()}" for line in running.events),
    ]


def _kept(samples: Sequence[Sample]) -> list[dict[str, object]]:
    step = max(1, len(samples) // KEPT_SAMPLES)
    return [
        {
            "elapsed_s": round(sample.elapsed_s, 1),
            "own_mb": {role: round(usage.own_mb, 1) for role, usage in sample.usage.items()},
            "pss_mb": {role: round(usage.pss_mb, 1) for role, usage in sample.usage.items()},
            "descriptors": {role: usage.descriptors for role, usage in sample.usage.items()},
            "threads": sum(usage.threads for role, usage in sample.usage.items() if role != TOTAL),
            "disk_mb": {what: round(size, 2) for what, size in sample.disk_mb.items()},
        }
        for sample in samples[::step]
    ]


def _plot(samples: Sequence[Sample], period_s: float) -> Figure:
    figure = Figure(figsize=(11, 12), layout="constrained")
    relative, memory, files = figure.subplots(3, sharex=True)
    minutes = [sample.elapsed_s / 60 for sample in samples]
    for role, found in growth(samples, period_s).items():
        own_mb = np.array(
            [sample.usage[role].own_mb if role in sample.usage else np.nan for sample in samples]
        )
        width = 2.5 if role == TOTAL else 1
        if found.before_mb:
            relative.plot(minutes, own_mb / found.before_mb, label=role, linewidth=width)
        if role != TOTAL:
            memory.plot(minutes, own_mb, label=role)
    for bound in (1 - GOAL_PERCENT / 100, 1 + GOAL_PERCENT / 100):
        relative.axhline(bound, color="black", linestyle=":")
    relative.axvspan(period_s / 60, 2 * period_s / 60, alpha=0.1)
    relative.set(
        title="Allocated memory by role, of its median in the marked period", ylim=(0.8, 1.2)
    )
    memory.set(title="Allocated memory by role, MB", ylim=(0, None))
    descriptors = [sample.usage[TOTAL].descriptors for sample in samples]
    files.plot(minutes, descriptors, label="descriptors (number)", color="black")
    for what in samples[-1].disk_mb:
        files.plot(minutes, [sample.disk_mb[what] for sample in samples], label=f"{what}, MB")
    files.set(title="Descriptors, and sizes of files", xlabel="minutes")
    files.set_yscale("symlog")
    _add_legends(relative, memory, files)
    return figure


def _add_legends(*all_axes: Axes) -> None:
    for axes in all_axes:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        axes.grid(alpha=0.3)


def main(
    minutes: Annotated[float, typer.Option(help="Duration of the load.")] = MINUTES,
    rate: Annotated[
        float | None, typer.Option(help="Predictions per second; by default half of the capacity.")
    ] = None,
) -> None:
    """Measure, print and keep the figures."""
    report = run(minutes, rate)
    typer.echo(show(report))
    keep("soak", report)


if __name__ == "__main__":
    typer.run(main)
