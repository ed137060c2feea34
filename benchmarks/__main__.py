"""Run benchmarks, print their figures and write them to benchmarks/results/.

python -m benchmarks [NAME…] [--quick]

Without a name all run but the long ones (LONG below); with --quick neither operations nor batching,
so that it takes no more than five minutes. storage_faults requires root.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from benchmarks import (
    autoscaling,
    bar_log,
    batching,
    connections,
    experiment_store,
    faults,
    inference,
    live_rows,
    operations,
    optimization,
    overload,
    registry,
)
from benchmarks.bar_close import run as bar_close
from benchmarks.growth import run as growth
from benchmarks.report import Report, differences_from_kept, keep, show
from benchmarks.serving_peers import run as peers
from benchmarks.soak import promotions
from benchmarks.soak.run import run as soak
from benchmarks.storage_faults import run as storage_faults

USUAL: Mapping[str, Callable[[bool], Report]] = {
    "inference": lambda quick: Report(inference.run(runs=50 if quick else 500)),
    "optimization": lambda quick: Report(
        optimization.run(runs=100, budget_s=10) if quick else optimization.run(runs=2000)
    ),
    "registry": lambda quick: Report(registry.run(runs=5 if quick else 15)),
    "experiment_store": lambda quick: Report(experiment_store.run(runs=3 if quick else 15)),
    "bar_log": lambda quick: bar_log.run(1_000_000, 1) if quick else bar_log.run(10_000_000, 5),
    "live_rows": lambda quick: live_rows.run(3) if quick else live_rows.run(),
    "operations": lambda quick: operations.run(rounds=1) if quick else operations.run(),
    "peers": lambda quick: peers.run(peers.QUICK if quick else peers.FULL),
    "batching": lambda quick: batching.run(5.0, 1) if quick else batching.run(),
}
NOT_QUICK = ("operations", "batching")
LONG: Mapping[str, Callable[[bool], Report]] = {
    "autoscaling": lambda _: autoscaling.run(),
    "bar_close": lambda quick: bar_close.run(bars=2) if quick else bar_close.run(),
    "connections": lambda quick: connections.run(rounds=1) if quick else connections.run(),
    "faults": lambda quick: faults.run(rounds=1) if quick else faults.run(),
    "growth": lambda quick: growth.run(rounds=1, seconds=1) if quick else growth.run(),
    "overload": lambda quick: overload.run("raw", 2, 4) if quick else overload.run(),
    "soak": lambda quick: soak(3) if quick else soak(),
    "soak-router": lambda quick: promotions.run("router", 60 if quick else promotions.CYCLES),
    "soak-replicas": lambda quick: promotions.run("replicas", 60 if quick else promotions.CYCLES),
    "storage_faults": lambda quick: storage_faults.run(rounds=1) if quick else storage_faults.run(),
}


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Some of {', '.join({**USUAL, **LONG})}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter; nothing is written.")] = False,
) -> None:
    """Measure; the figures of different machines are not comparable."""
    known = {**USUAL, **LONG}
    usual = [name for name in USUAL if not quick or name not in NOT_QUICK]
    for name in names or usual:
        if name not in known:
            raise typer.BadParameter(f"{name}: expected one of {', '.join(known)}")
    for name in names or usual:
        typer.echo(f"\n{name}")
        report = known[name](quick)
        typer.echo(show(report))
        for difference in differences_from_kept(name):
            typer.echo(f"  warning: not comparable with the kept results: {difference}")
        if not quick:
            keep(name, report)


if __name__ == "__main__":
    typer.run(main)
