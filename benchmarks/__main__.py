"""Run every benchmark, print its figures and write them to benchmarks/results/.

python -m benchmarks [--quick]
"""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import experiment_store, inference, registry

RESULTS = Path(__file__).parent / "results"


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs; nothing is written.")] = False,
) -> None:
    """Measure; the figures of different machines are not comparable."""
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "torch", "numpy", "sqlalchemy")},
    }
    for name, measured in {
        "inference": inference.run(runs=50 if quick else 500),
        "registry": registry.run(runs=5 if quick else 15),
        "experiment_store": experiment_store.run(runs=3 if quick else 15),
    }.items():
        typer.echo(f"\n{name}")
        for what, figures in measured.items():
            values = "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
            typer.echo(f"  {what:28} {values}")
        if not quick:
            document = json.dumps({"machine": machine, "figures": measured}, indent=2)
            (RESULTS / f"{name}.json").write_text(document + "\n")


if __name__ == "__main__":
    typer.run(main)
