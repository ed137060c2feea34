"""Memory over a thousand promotions and reloads.

Two versions alternate in production, and the one that leaves it is unloaded at once, so that each
cycle loads a version and unloads another. A steady caller continues meanwhile. The goal is at most
10 % more memory at the end than after 50 cycles, by which everything has been used once.

python -m benchmarks.soak.promotions router|replicas [--cycles 1000]
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import psutil
import typer
from matplotlib.figure import Figure

from benchmarks.report import Report, keep, show
from benchmarks.serving import APPLICATION, NAME, Server, server, settings, until, window
from testkit.load import load

Placement = Literal["router", "replicas"]

VERSIONS = ("1.0.0", "1.1.0")
CYCLES = 1000
SAMPLE_EVERY = 10
SETTLED_AFTER = 50
CALLER_PAUSE_S = 0.05
TOTAL = "all processes"
SHOWN = ("router", "fleet", "registry actor", "controller", "raylet", "gcs")


@dataclass(frozen=True)
class Sample:
    """Memory after a number of cycles: PSS in MB by process, in which shared pages are shared."""

    cycle: int
    elapsed_s: float
    pss_mb: dict[str, float]


def run(placement: Placement, cycles: int = CYCLES) -> Report:
    """Return the growth by role, and the samples with their plot."""
    with server(VERSIONS) as running:
        declared = settings(
            [{"version": "production", "placement": placement}], loading={"unload_idle_s": 0.0}
        )
        running.cluster.deploy(declared)
        running.cluster.wait_until_serving({f"{NAME}:{VERSIONS[0]}"})
        return asyncio.run(_soak(running, placement, cycles))


async def _soak(running: Server, placement: Placement, cycles: int) -> Report:
    samples: list[Sample] = []
    began_s = time.monotonic()
    async with load(
        running.cluster.url, window(), concurrency=1, pause_s=CALLER_PAUSE_S
    ) as traffic:
        for cycle in range(cycles + 1):
            if cycle > 0:
                version = VERSIONS[cycle % 2]
                await running.registry.promote_to_production(NAME, version)
                await running.reload()
                await until(partial(_serves_only, running, version), f"{version} alone")
            if cycle % SAMPLE_EVERY == 0:
                replicas = 1 if placement == "replicas" else 0
                await until(partial(_has_replicas, running, replicas), f"{replicas} replicas")
                memory = await asyncio.to_thread(_memory_mb, running)
                samples.append(Sample(cycle, time.monotonic() - began_s, memory))
                typer.echo(
                    f"{samples[-1].elapsed_s:7.0f} s  cycle {cycle}  "
                    + "  ".join(f"{name} {memory[name]:.1f}" for name in (TOTAL, *SHOWN))
                    + f"  requests {len(traffic.took_ms)}  failed {len(traffic.failures)}"
                )
    figures = {name: _growth(samples, name) for name in samples[-1].pss_mb}
    figures["traffic"] = {
        "requests": len(traffic.took_ms),
        "failed": len(traffic.failures),
        "longest_ms": max(traffic.took_ms),
    }
    facts = {
        "placement": placement,
        "cycles": cycles,
        "failures": sorted(set(traffic.failures)),
        "samples": [vars(sample) for sample in samples],
    }
    return Report(figures, facts, plot=_plot(samples, placement))


def _serves_only(running: Server, version: str) -> bool:
    return running.served() == {version: True}


def _has_replicas(running: Server, count: int) -> bool:
    return count == sum(
        len(found) for name, found in running.processes().items() if name.startswith(APPLICATION)
    )


def _memory_mb(running: Server) -> dict[str, float]:
    """Return the PSS by role, with all versions' replicas as one, and the total."""
    memory: dict[str, float] = {}
    for name, processes in running.processes().items():
        role = "replicas" if name.startswith(APPLICATION) else name
        for process in processes:
            try:
                pss_mb = process.memory_full_info().pss / 1e6
            except psutil.NoSuchProcess:
                continue  # one of Ray's spare workers; they come and go
            memory[role] = memory.get(role, 0.0) + pss_mb
    return {TOTAL: sum(memory.values()), **dict(sorted(memory.items()))}


def _growth(samples: Sequence[Sample], name: str) -> dict[str, float]:
    """Return the memory once settled and at the end, each the mean of the sample and the next or
    the former one: a moment in which versions overlap is no growth."""
    values = [sample.pss_mb.get(name, 0.0) for sample in samples if sample.cycle >= SETTLED_AFTER]
    before, after = float(np.mean(values[:2])), float(np.mean(values[-2:]))
    return {
        "settled_mb": before,
        "end_mb": after,
        "growth_percent": 100 * (after / before - 1) if before else 0.0,
    }


def _plot(samples: Sequence[Sample], placement: Placement) -> Figure:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    cycles = [sample.cycle for sample in samples]
    for name in samples[-1].pss_mb:
        values = [sample.pss_mb.get(name, 0.0) for sample in samples]
        axes.plot(cycles, values, label=name, linewidth=2.5 if name == TOTAL else 1)
    settled = next(sample for sample in samples if sample.cycle >= SETTLED_AFTER).pss_mb[TOTAL]
    axes.axhline(1.1 * settled, color="black", linestyle=":", label="goal: 10 % more than settled")
    axes.set(
        title=f"Memory over {cycles[-1]} reloads, placement: {placement}",
        xlabel="reloads",
        ylabel="PSS, MB",
        ylim=(0, None),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    return figure


def main(
    placement: Annotated[Placement, typer.Argument(help="Where the version runs.")],
    cycles: Annotated[int, typer.Option(help="Promotions and reloads.")] = CYCLES,
) -> None:
    """Measure, print and keep the figures."""
    report = run(placement, cycles)
    typer.echo(show(report))
    keep(f"soak-{placement}", report)


if __name__ == "__main__":
    typer.run(main)
