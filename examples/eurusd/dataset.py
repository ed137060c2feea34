"""Windows, labels, and a chronological split in which no label extends into the next part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from examples.eurusd.data import SYMBOL
from examples.eurusd.features import FEATURE_SET
from features import Bars, Symbol
from features.bar_log import BarLog
from features.datasets import Dataset, DatasetDefinition, build_dataset
from features.feature_sets import InstalledFeatureSet, compute_rows
from features.labels import LabelRule, market_classes, market_return

TIMESTEPS = 60
HORIZON_BARS = 4
"""The number of bars after its own that a prediction covers."""

DEAD_BAND = 0.00055
"""Returns up to this size in either direction are HOLD: a third of the bars in 2017."""

TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One sample per bar: the window known at its close, and the market's return afterwards."""

    bars: NDArray[np.int64]
    """The index of the bar at whose close the sample is taken, ascending."""
    windows: NDArray[np.float32]
    """(samples, TIMESTEPS, features); a view, since adjacent windows share all bars but one."""
    returns: NDArray[np.float64]
    """The market's return from this close to the close HORIZON_BARS later, as a fraction."""
    labels: NDArray[np.int64]
    """The direction as encoded on the wire: 0 HOLD, 1 BUY, 2 SELL."""

    def __len__(self) -> int:
        return len(self.bars)

    def __getitem__(self, part: slice) -> "Samples":
        return Samples(
            bars=self.bars[part],
            windows=self.windows[part],
            returns=self.returns[part],
            labels=self.labels[part],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Samples for training, early stopping and evaluation, in chronological order."""

    train: Samples
    validation: Samples
    test: Samples


def build_samples(installed: InstalledFeatureSet, bars: Bars, folder: Path) -> Dataset:
    """Build the dataset of all samples, as `modelctl dataset build` does after an import.

    Args:
        installed: the feature set of the example, as it is installed.
        bars: all bars.
        folder: a folder for a bar log and the dataset's files.
    """
    timeframe = installed.feature_set.timeframe
    imported_ms = timeframe.end(int(bars.time[-1]))
    definition = DatasetDefinition(
        symbols=(Symbol(SYMBOL),),
        rule=LabelRule(HORIZON_BARS, DEAD_BAND),
        as_of_ms=imported_ms,
        timesteps=TIMESTEPS,
    )
    path = folder / "samples.parquet"
    with BarLog(folder / "bars") as log:
        log.append(SYMBOL, timeframe, bars, imported_ms)
        build_dataset(log.reader, installed, definition, path)
    return Dataset.read(path)


def samples_of(dataset: Dataset, bars: Bars) -> Samples:
    """Return the samples of a dataset of these bars."""
    return Samples(
        bars=np.searchsorted(bars.time, dataset.times),
        windows=dataset.windows,
        returns=dataset.returns,
        labels=dataset.labels,
    )


def make_samples(bars: Bars) -> Samples:
    """Return a sample of every bar with a complete window before it and a horizon after it.

    They are those of `build_samples`, without a log and files.

    Raises:
        ValueError: too few bars for a single sample.
    """
    first = FEATURE_SET.lookback - 1 + TIMESTEPS - 1
    count = len(bars) - HORIZON_BARS - first
    if count < 1:
        needed = first + HORIZON_BARS + 1
        raise ValueError(f"expected at least {needed} bars, received {len(bars)}")
    returns = market_return(bars.close[first:-HORIZON_BARS], bars.close[first + HORIZON_BARS :])
    # The view has the axis of the window last; the model expects time before the features.
    rows = compute_rows(FEATURE_SET, bars)
    windows = sliding_window_view(rows, TIMESTEPS, axis=0).transpose(0, 2, 1)
    return Samples(
        bars=np.arange(first, first + count),
        windows=windows[:count],
        returns=returns,
        labels=market_classes(returns, DEAD_BAND).astype(np.int64),
    )


def split_samples(samples: Samples) -> Split:
    """Split by time, and omit the samples of each part whose label extends into the next part.

    The return of the last sample of a part ends before the first bar of the next part, so training
    and early stopping never see data on which a later part is evaluated.
    """
    validation = int(len(samples) * TRAIN_SHARE)
    test = int(len(samples) * (TRAIN_SHARE + VALIDATION_SHARE))
    return Split(
        train=samples[: validation - HORIZON_BARS],
        validation=samples[validation : test - HORIZON_BARS],
        test=samples[test:],
    )
