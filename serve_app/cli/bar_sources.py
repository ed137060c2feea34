"""The real bars on which a command checks a feature set: those of a file or of the bar log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features import Bars
from features.errors import BarFileError, FeaturesError, NoBarsError
from features.feature_sets import FeatureSet, find_feature_set
from features.timeframes import Timeframe
from registry.feature_sets import FeatureSetRecord
from registry.layout import BARS, Layout
from registry.registry import DEFAULT_ROOT
from serve_app.cli.connection import exit_on
from serve_app.feature_sets import checked_record

if TYPE_CHECKING:
    from features.bar_log import BarReader

CHECKED_BARS = 20_000
"""The number of bars on which a feature set is checked, the latest ones; it bounds time and memory
of a check on a long history."""

BarLogFolder = Annotated[
    Path | None,
    typer.Option(
        "--bar-log",
        envvar="MODELCTL_BAR_LOG",
        help=f"Folder of the bar log; default: {BARS} in the registry's folder.",
    ),
]
BarLogUrl = Annotated[
    str | None,
    typer.Option(
        "--bar-log-url",
        envvar="MODELCTL_BAR_LOG_URL",
        help="Database of the bar log; default: the SQLite file in its folder.",
    ),
]


@dataclass(frozen=True, slots=True)
class BarSource:
    """The bars of a check: those of a file if one is given, otherwise those of the bar log."""

    bars: Annotated[
        Path | None,
        typer.Option(
            "--bars",
            help="CSV or Parquet file of real bars for the check; default: bars of the bar log.",
        ),
    ] = None
    zone: Annotated[
        str | None,
        typer.Option("--zone", help="Time zone of the file's times, if they have none."),
    ] = None
    symbol: Annotated[
        str | None,
        typer.Option(
            "--symbol",
            help="Symbol of the bar log for the check; default: the one with the most bars.",
        ),
    ] = None
    bar_log: BarLogFolder = None
    bar_log_url: BarLogUrl = None

    def read(self, feature_set: FeatureSet, registry: Path | None) -> tuple[Bars, str]:
        """Return bars of a feature set's timeframe, and their origin as a text.

        Args:
            feature_set: the feature set.
            registry: the registry's folder, in which the bar log is by default.

        Raises:
            FeaturesError: there are none, or they cannot be read.
        """
        if self.bars is None:
            return self._from_log(feature_set.timeframe, bar_log_folder(self.bar_log, registry))
        # The file formats need pyarrow, which a machine without bars lacks.
        from features.bar_log.bar_files import read_bars

        now_ms = time.time_ns() // 1_000_000
        bars = read_bars(self.bars, feature_set.timeframe, now_ms, self.zone)
        return bars.take(slice(-CHECKED_BARS, None)), f"the file {self.bars.name}"

    def _from_log(self, timeframe: Timeframe, folder: Path) -> tuple[Bars, str]:
        if not folder.is_dir():
            raise NoBarsError(timeframe.name, f"there is no bar log in {folder}")
        with open_bar_log(folder, self.bar_log_url) as reader:
            series = [s for s in reader.series() if s.timeframe == timeframe.name]
            if self.symbol is not None:
                series = [s for s in series if s.symbol == self.symbol]
            if not series:
                named = "" if self.symbol is None else f" of {self.symbol}"
                problem = f"the bar log in {folder} has no bars{named} with this timeframe"
                raise NoBarsError(timeframe.name, problem)
            symbol = max(series, key=lambda s: s.bars).symbol
            window = reader.window(symbol, timeframe, CHECKED_BARS)
        return Bars(window.time, window.values), f"{symbol} in the bar log"


def bar_log_folder(named: Path | None, registry: Path | None) -> Path:
    """Return the folder of the bar log: the named one, else that in the registry's folder."""
    return named or Layout(registry or Path(DEFAULT_ROOT)).bars()


@contextmanager
def open_bar_log(folder: Path, url: str | None) -> Iterator["BarReader"]:
    """Yield a reader of a bar log, which a server may be writing.

    Raises:
        BarFileError: there is no such folder.
        BarLogError: the log cannot be read.
    """
    # The database of the log needs packages that a machine without bars lacks.
    from features.bar_log import BarReader

    if not folder.is_dir():
        remedy = "import bars with modelctl bars import, or name the folder with --bar-log"
        raise BarFileError(str(folder), "there is no bar log", remedy)
    reader = BarReader.open(folder, url)
    try:
        yield reader
    finally:
        reader.close()


def checked(name: str, source: BarSource, registry: Path | None) -> FeatureSetRecord:
    """Check an installed feature set on real bars; a failure ends the command."""
    with exit_on(FeaturesError):
        installed = find_feature_set(name)
        return checked_record(installed, *source.read(installed.feature_set, registry))
