"""Windows, labels and a chronological split in which no label sees the next part."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from examples.eurusd.data import Bars
from examples.eurusd.features import LOOKBACK_BARS, compute_features
from registry.records import DIRECTIONS

TIMESTEPS = 60
HORIZON_BARS = 4
"""How many bars after its own a prediction is about."""

DEAD_BAND = 0.00055
"""Returns up to this size, either way, are HOLD; a third of the bars in 2017."""

TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One sample per bar: what was known at its close, and what the market did after."""

    bars: NDArray[np.int64]
    """Index of the bar at whose close the sample is taken, ascending."""
    windows: NDArray[np.float32]
    """(samples, TIMESTEPS, features); a view, since neighbours share all bars but one."""
    returns: NDArray[np.float64]
    """The market's return from that close to the close HORIZON_BARS later, as a fraction."""
    labels: NDArray[np.int64]
    """The direction on the wire: 0 HOLD, 1 BUY, 2 SELL."""

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
    """Samples to learn from, to stop by and to be judged by, in the order of time."""

    train: Samples
    validation: Samples
    test: Samples


def forward_returns(close: NDArray[np.float64], horizon_bars: int) -> NDArray[np.float64]:
    """Return from each close to the one `horizon_bars` later; the last bars have none."""
    return close[horizon_bars:] / close[:-horizon_bars] - 1


def label_returns(returns: NDArray[np.float64], dead_band: float) -> NDArray[np.int64]:
    """Return the direction that was right: HOLD within the dead band, else the return's sign."""
    labels = np.full(len(returns), DIRECTIONS["HOLD"], dtype=np.int64)
    labels[returns > dead_band] = DIRECTIONS["BUY"]
    labels[returns < -dead_band] = DIRECTIONS["SELL"]
    return labels


def make_samples(bars: Bars) -> Samples:
    """Make a sample of every bar with a whole window before it and a whole horizon after it.

    Raises:
        ValueError: too few bars for a single sample.
    """
    first = LOOKBACK_BARS - 1 + TIMESTEPS - 1
    count = len(bars) - HORIZON_BARS - first
    if count < 1:
        needed = first + HORIZON_BARS + 1
        raise ValueError(f"expected at least {needed} bars, received {len(bars)}")
    returns = forward_returns(bars.close, HORIZON_BARS)[first:]
    # The view puts the window's axis last; time comes before the features.
    windows = sliding_window_view(compute_features(bars), TIMESTEPS, axis=0).transpose(0, 2, 1)
    return Samples(
        bars=np.arange(first, first + count),
        windows=windows[:count],
        returns=returns,
        labels=label_returns(returns, DEAD_BAND),
    )


def split_samples(samples: Samples) -> Split:
    """Split by time, leaving out of each part the samples whose label reaches the next part.

    The return of the last sample of a part ends before the first bar of the next part, so
    nothing that a later part is judged by was seen while learning or stopping.
    """
    validation = int(len(samples) * TRAIN_SHARE)
    test = int(len(samples) * (TRAIN_SHARE + VALIDATION_SHARE))
    return Split(
        train=samples[: validation - HORIZON_BARS],
        validation=samples[validation : test - HORIZON_BARS],
        test=samples[test:],
    )
