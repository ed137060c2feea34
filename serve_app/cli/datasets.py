"""The commands on datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from features.bars import EARLIEST_MS, LATEST_MS, Symbol
from features.errors import FeaturesError
from features.feature_sets import find_feature_set
from features.labels import LabelRule
from features.times import parse_time
from serve_app.cli import tables
from serve_app.cli.bar_sources import BarLogFolder, BarLogUrl, bar_log_folder, open_bar_log
from serve_app.cli.connection import RegistryFolder, exit_on
from serve_app.cli.options import AsJson

if TYPE_CHECKING:
    from features.datasets import Manifest

app = typer.Typer(help="Build and show point-in-time datasets.", no_args_is_help=True)


@app.command()
def build(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, which ends in .parquet.")
    ],
    feature_set: Annotated[str, typer.Option(help="Name of the installed feature set.")],
    symbols: Annotated[
        list[str], typer.Option(help="Symbols, separated by commas or in several options.")
    ],
    as_of: Annotated[
        str, typer.Option(help="Use only what was known at this time, ISO 8601 with a zone.")
    ],
    horizon_bars: Annotated[
        int, typer.Option(min=1, help="Number of bars that a prediction covers.")
    ],
    dead_band: Annotated[
        float, typer.Option(min=0.0, help="Returns up to this fraction are labelled HOLD.")
    ],
    from_: Annotated[
        str | None, typer.Option("--from", help="First bar of a sample; default: all bars.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Last bar of a sample; default: all bars.")
    ] = None,
    timesteps: Annotated[int, typer.Option(min=1, help="Number of rows of a window.")] = 60,
    bar_log: BarLogFolder = None,
    bar_log_url: BarLogUrl = None,
    registry: RegistryFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write the windows and labels of a feature set to a Parquet file, with a manifest beside it.

    The same bars and options write the same bytes.
    """
    # The file formats need packages that a machine without bars lacks.
    from features.datasets import DatasetDefinition, build_dataset

    with exit_on(FeaturesError, OSError):
        definition = DatasetDefinition(
            symbols=tuple(Symbol(name) for text in symbols for name in text.split(",")),
            rule=LabelRule(horizon_bars, dead_band),
            as_of_ms=parse_time(as_of),
            first_ms=EARLIEST_MS if from_ is None else parse_time(from_),
            last_ms=LATEST_MS if to is None else parse_time(to),
            timesteps=timesteps,
        )
        installed = find_feature_set(feature_set)
        console = Console(stderr=True)
        with (
            open_bar_log(bar_log_folder(bar_log, registry), bar_log_url) as reader,
            Progress(console=console, disable=not console.is_terminal) as shown,
        ):
            task = shown.add_task(f"building {output.name}", total=1.0)
            manifest = build_dataset(
                reader,
                installed,
                definition,
                output,
                lambda share: shown.update(task, completed=share),
            )
    _report(output, manifest, as_json)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="File of a dataset.")], as_json: AsJson = False
) -> None:
    """Show what a dataset contains, after a comparison of its file with its manifest."""
    from features.datasets import Dataset

    with exit_on(FeaturesError):
        manifest = Dataset.read(path).manifest
    _report(path, manifest, as_json)


def _report(path: Path, manifest: "Manifest", as_json: bool) -> None:
    if as_json:
        tables.show_json({"manifest_sha256": manifest.sha256, **manifest.fields()})
        return
    tables.show(tables.dataset_table(manifest.fields()["series"]))
    used = manifest.feature_set
    typer.echo(
        f"{path}: {manifest.samples} samples of {used.name} {used.version}, {manifest.timesteps} "
        f"timesteps, {manifest.horizon_bars} bars ahead, as known at {manifest.as_of}"
    )
    typer.echo(f"manifest sha256 {manifest.sha256}")
