"""Run every benchmark, or those named, print the figures and write them to benchmarks/results/.

python -m benchmarks [--quick] [NAME]...
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import inference, optimization, registry
from optimization.machine import differences, this_machine

RESULTS = Path(__file__).parent / "results"

BENCHMARKS = {
    "inference": lambda quick: inference.run(runs=50 if quick else 500),
    "optimization": lambda quick: (
        optimization.run(runs=100, budget_s=20) if quick else optimization.run(runs=2000)
    ),
    "registry": lambda quick: registry.run(runs=5 if quick else 15),
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; all by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs; nothing is written.")] = False,
) -> None:
    """Measure; the figures of different machines are not comparable."""
    unknown = set(names or ()) - BENCHMARKS.keys()
    if unknown:
        raise typer.BadParameter(f"expected {', '.join(BENCHMARKS)}, received {sorted(unknown)}")
    machine = this_machine().as_json()
    for name in names or BENCHMARKS:
        measured = BENCHMARKS[name](quick)
        typer.echo(f"\n{name}")
        for what, figures in measured.items():
            values = "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
            typer.echo(f"  {what:28} {values}")
        results = RESULTS / f"{name}.json"
        _warn_of_another_machine(results, machine)
        if not quick:
            document = json.dumps({"machine": machine, "figures": measured}, indent=2)
            results.write_text(document + "\n")


def _warn_of_another_machine(results: Path, machine: dict[str, object]) -> None:
    if not results.exists():
        return
    other = json.loads(results.read_text())["machine"]
    for difference in differences(other, machine):
        typer.echo(f"  warning: not comparable with {results.name} of before: {difference}")


if __name__ == "__main__":
    typer.run(main)
