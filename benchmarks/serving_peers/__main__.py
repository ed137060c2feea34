"""Measure a part of the comparison, and print it; `python -m benchmarks peers` keeps all of it.

python -m benchmarks.serving_peers [--only NAME]… [--rounds 5] [--seconds 2]
"""

from typing import Annotated

import typer

from benchmarks.report import show
from benchmarks.serving_peers.run import FULL, Plan, run


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="A part of a contestant's name; several may be given.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds.")] = FULL.rounds,
    seconds: Annotated[int, typer.Option(help="Duration of each load.")] = FULL.seconds,
    workers: Annotated[list[int] | None, typer.Option(help="Numbers of processes tried.")] = None,
    cold_starts: Annotated[int, typer.Option(help="Timed runs of `serve run`.")] = 0,
    sweep: Annotated[bool, typer.Option(help="Other numbers of callers too.")] = False,
) -> None:
    """Measure the chosen part."""
    plan = Plan(
        only=only or (),
        rounds=rounds,
        seconds=seconds,
        workers=workers or FULL.workers,
        cold_starts=cold_starts,
        others=FULL.others if sweep else (),
    )
    typer.echo(show(run(plan)))


if __name__ == "__main__":
    typer.run(main)
