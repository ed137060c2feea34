"""Loads the hourly EURUSD bars of 2017 from the package gym-anytrading.

    python -m examples.eurusd.data > eurusd.csv

prints them in the form that `modelctl bars import` reads.
"""

import csv
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TextIO

import numpy as np

from features import Bars
from features.times import iso

SYMBOL = "EURUSD"
DISTRIBUTION = "gym-anytrading"
SOURCE = f"{DISTRIBUTION} 2.0.0: FOREX_EURUSD_1H_ASK.csv (MIT)"

_FILE = "gym_anytrading/datasets/data/FOREX_EURUSD_1H_ASK.csv"
_COLUMNS = ("Open", "High", "Low", "Close", "Volume")
_TIME_FORMAT = "%d.%m.%Y %H:%M:%S.%f"


class DataError(Exception):
    """The market data is missing or invalid."""


def load_bars() -> Bars:
    """Load all bars; there are 6225 in the year, since trading stops on weekends.

    Raises:
        DataError: the package with the data is not installed.
    """
    try:
        # Only the file is used: importing the package would start its plots.
        path = Path(str(distribution(DISTRIBUTION).locate_file(_FILE)))
    except PackageNotFoundError:
        raise DataError(
            f"the package {DISTRIBUTION} with the market data is not installed; "
            f"install this project with its extra 'examples'"
        ) from None
    return read_bars(path)


def read_bars(path: Path) -> Bars:
    """Read a CSV of Time, Open, High, Low, Close, Volume.

    Raises:
        DataError: the file is missing, or does not contain bars in chronological order.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        time = np.array([_time(row["Time"]) for row in rows], dtype="datetime64[ms]")
        columns = [[float(row[name]) for row in rows] for name in _COLUMNS]
    except FileNotFoundError as error:
        raise DataError(f"no file at {path}; provide the market data as CSV") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"cannot read {path}: expected the columns Time, Open, High, Low, Close and Volume "
            f"({type(error).__name__}: {error})"
        ) from error
    bars = Bars.of(time.astype(np.int64), columns)
    if not (np.diff(bars.time) > 0).all():
        raise DataError(
            f"cannot use {path}: its bars are not in chronological order; sort them by time"
        )
    return bars


def write_csv(bars: Bars, file: TextIO) -> None:
    """Write bars with the columns time, open, high, low, close and volume."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", *(name.lower() for name in _COLUMNS)])
    for time_ms, row in zip(bars.time.tolist(), bars.values.T.tolist(), strict=True):
        writer.writerow([iso(time_ms), *row])


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIME_FORMAT)


if __name__ == "__main__":
    write_csv(load_bars(), sys.stdout)
