"""The commands on bars, `modelctl bars …`: through a running server, or on the log's folder."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.bars import EARLIEST_MS, LATEST_MS, Symbol
from features.errors import FeaturesError
from features.timeframes import Timeframe
from features.times import parse_time
from serve_app.api.rest.bar_documents import symbols_document
from serve_app.bars.queries import SeriesStatus
from serve_app.cli import tables
from serve_app.cli.bar_sources import BarLogFolder, BarLogUrl, bar_log_folder
from serve_app.cli.connection import RegistryFolder, ServerLocation, exit_on, mute_client
from serve_app.cli.options import AsJson, with_options
from serve_app.client import DEFAULT_SERVER_URL, ModelClient
from serve_app.errors import ServingError

if TYPE_CHECKING:
    from features.bar_log import BarReader
    from serve_app.cli.bar_import import Report

app = typer.Typer(help="Import, list, check and export bars.", no_args_is_help=True)

PROBE_S = 1.0
"""Time in which a running server must respond."""

SHOWN_REASONS = 20

SymbolOption = Annotated[str, typer.Option("--symbol", help="Symbol, for example EURUSD.")]
TimeframeOption = Annotated[str, typer.Option("--timeframe", help="Timeframe, for example 1h.")]
TIME_HELP = "ISO 8601 with a time zone"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of a bar log, and its database."""

    bar_log: BarLogFolder = None
    bar_log_url: BarLogUrl = None
    registry: RegistryFolder = None

    @property
    def path(self) -> Path:
        """Return the folder."""
        return bar_log_folder(self.bar_log, self.registry)

    @contextmanager
    def reading(self) -> Iterator["BarReader"]:
        """Yield a reader of the log, which a server may be writing."""
        from features.bar_log import BarReader

        reader = BarReader.open(self.path, self.bar_log_url)
        try:
            yield reader
        finally:
            reader.close()


@dataclass(frozen=True, slots=True)
class Destination:
    """A running server, or the folder of a bar log if none runs or the folder is named."""

    bar_log: BarLogFolder = None
    bar_log_url: BarLogUrl = None
    registry: RegistryFolder = None
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            envvar="MODELCTL_URL",
            help="HTTP address of the server.",
        ),
    ] = None

    @property
    def folder(self) -> Folder:
        """Return the folder, for commands without a server."""
        return Folder(self.bar_log, self.bar_log_url, self.registry)

    def server(self) -> ServerLocation | None:
        """Return the server to use; None for the folder."""
        if self.url is not None:
            if self.bar_log is not None:
                raise typer.BadParameter("expected --url or --bar-log, received both; omit one")
            return ServerLocation(self.url)
        if self.bar_log is None and self.bar_log_url is None and _responds(DEFAULT_SERVER_URL):
            return ServerLocation(DEFAULT_SERVER_URL)
        return None


@app.command(name="import")
@with_options
def import_bars(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file of bars.", show_default=False)],
    symbol: SymbolOption,
    timeframe: TimeframeOption,
    zone: Annotated[
        str | None,
        typer.Option("--zone", help="Time zone of the file's times, if they have none."),
    ] = None,
    *,
    destination: Destination,
    as_json: AsJson = False,
) -> None:
    """Import a file of bars into the server, or into the folder if no server responds.

    An import may be interrupted and repeated: bars that are stored count as duplicates.
    """
    # The file formats need pyarrow, which a machine without bars lacks.
    from features.bar_log import BarLog
    from serve_app.cli.bar_import import import_directly, import_through_server

    with exit_on(FeaturesError, ServingError):
        bars_of = file, Symbol(symbol), Timeframe.parse(timeframe), zone
        server = destination.server()
        typer.echo(f"importing into {server or destination.folder.path}", err=True)
        with _progress(f"{symbol} {timeframe}") as progress:

            def advance(done: "Report") -> None:
                progress(done.share)

            if server is not None:
                report = server.run(lambda c: import_through_server(c, *bars_of, advance))
            else:
                folder = destination.folder
                with BarLog(folder.path, folder.bar_log_url) as log:
                    report = import_directly(log, *bars_of, advance)
    _show_report(report, as_json)


@app.command(name="list")
@with_options
def list_bars(*, destination: Destination, as_json: AsJson = False) -> None:
    """List the symbols of the server, or those of the folder if no server responds."""
    with exit_on(FeaturesError, ServingError):
        server = destination.server()
        if server is not None:
            entries = server.run(lambda client: client.symbols())
        else:
            now_ms = time.time_ns() // 1_000_000
            with destination.folder.reading() as reader:
                found = [SeriesStatus(one, one.age_ms(now_ms)) for one in reader.series()]
            entries = symbols_document(found)
    if as_json:
        tables.show_json(entries)
    elif entries:
        tables.show(tables.symbols_table(entries))
    else:
        typer.echo(f"no bars in {server or destination.folder.path}")


@app.command()
@with_options
def check(*, folder: Folder) -> None:
    """Read the whole log and compare its checksums; a server may be writing it."""
    with exit_on(FeaturesError), folder.reading() as reader:
        problems = reader.verify()
        summaries = reader.series()
    for problem in problems:
        typer.echo(problem)
    if problems:
        typer.echo(f"{len(problems)} problems; restore the log from a backup", err=True)
        raise typer.Exit(1)
    bars = sum(summary.bars for summary in summaries)
    typer.echo(f"{folder.path}: {bars} bars of {len(summaries)} series, no problem")


@app.command()
@with_options
def export(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file to write.", show_default=False)],
    symbol: SymbolOption,
    timeframe: TimeframeOption,
    first: Annotated[
        str | None, typer.Option("--from", help=f"The first bar, {TIME_HELP}; default: all.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help=f"The last bar, {TIME_HELP}; default: all.")
    ] = None,
    known_at: Annotated[
        str | None,
        typer.Option(
            "--known-at",
            help=f"Export what was known at this time, {TIME_HELP}; default: every revision.",
        ),
    ] = None,
    *,
    folder: Folder,
) -> None:
    """Export bars with their revisions; an import of the file restores them."""
    from features.bar_log.exporting import export_file

    with exit_on(FeaturesError), folder.reading() as reader:
        length = Timeframe.parse(timeframe)
        expected = sum(
            summary.bars
            for summary in reader.series()
            if (summary.symbol, summary.timeframe) == (symbol, timeframe)
        )
        with _progress(f"{symbol} {timeframe}") as progress:
            rows = export_file(
                reader,
                file,
                symbol,
                length,
                EARLIEST_MS if first is None else parse_time(first),
                LATEST_MS if last is None else parse_time(last),
                None if known_at is None else parse_time(known_at),
                lambda done: progress(min(1.0, done / max(1, expected))),
            )
    typer.echo(f"{file}: {rows} rows")


def _responds(url: str) -> bool:
    async def probe() -> bool:
        async with ModelClient(url, timeout_s=PROBE_S) as client:
            return await client.health_check()

    mute_client()
    return asyncio.run(probe())


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that shows the share that is done, if the output is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = "{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def _show_report(report: "Report", as_json: bool) -> None:
    if as_json:
        fields = asdict(report)
        reasons = [{"row": row, "reason": reason} for row, reason in report.reasons]
        del fields["share"]
        tables.show_json({**fields, "reasons": reasons})
        return
    typer.echo(
        f"{report.rows} rows: {report.accepted} accepted, {report.duplicates} duplicates, "
        f"{report.revised} revised, {report.rejected} rejected"
    )
    for row, reason in report.reasons[:SHOWN_REASONS]:
        typer.echo(f"row {row + 1}: {reason}", err=True)
    if report.rejected > SHOWN_REASONS:
        typer.echo(f"and {report.rejected - SHOWN_REASONS} further rejected rows", err=True)
