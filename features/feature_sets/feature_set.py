"""The protocol of a feature set, and the rules for what it declares."""

import re
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from features.bars import BarPanel, Bars
from features.timeframes import Timeframe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)


@runtime_checkable
class FeatureSet(Protocol):
    """A pure function from bars to rows of features.

    A row depends on its own bar and the `lookback - 1` bars before it, and on nothing else: not on
    later bars, earlier bars, previous calls, the clock or files.
    """

    @property
    def name(self) -> str:
        """The name, which is also that of its entry point."""

    @property
    def version(self) -> str:
        """The version, to change with every change of the rows."""

    @property
    def timeframe(self) -> Timeframe:
        """The timeframe of its bars."""

    @property
    def lookback(self) -> int:
        """The number of bars, its own included, on which one row depends."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the columns."""

    def compute(self, bars: Bars) -> NDArray[np.float32]:
        """Return the row of every bar with a complete lookback.

        Args:
            bars: at least `lookback` bars of one symbol in ascending order, without equal times.
                They may be read-only and must not be changed.

        Returns:
            (len(bars) - lookback + 1, features) float32, finite; the last row is that of the last
            bar.
        """


@runtime_checkable
class PanelFeatureSet(FeatureSet, Protocol):
    """A feature set that computes the newest rows of many symbols at once.

    This is optional. When the bars of a period end, those of all symbols arrive together, and
    most of the time of `compute` for one row is spent on calls, not on numbers.
    """

    def compute_last(self, panel: BarPanel) -> NDArray[np.float32]:
        """Return the row of the last bar of each series.

        Args:
            panel: `lookback` bars of each of at least one series. They may be read-only and must
                not be changed.

        Returns:
            (series, features) float32, equal bit for bit to what `compute` returns for each series.
        """


def find_declaration_problem(value: object) -> str | None:
    """Return why a value cannot be a feature set, or None."""
    if isinstance(value, type) or not isinstance(value, FeatureSet):
        return f"expected an instance with the members of FeatureSet, received {value!r}"
    for member in ("name", "version"):
        text = getattr(value, member)
        if not isinstance(text, str) or _NAME.fullmatch(text) is None:
            return f"expected a {member} of 1 to 64 letters, digits and . _ + -, received {text!r}"
    if not isinstance(value.timeframe, Timeframe):
        return f"expected a Timeframe as timeframe, received {value.timeframe!r}"
    lookback: object = value.lookback
    if not isinstance(lookback, int) or isinstance(lookback, bool) or lookback < 1:
        return f"expected a lookback of at least 1 bar, received {lookback!r}"
    names: object = value.feature_names
    if not isinstance(names, tuple) or not names or not all(isinstance(n, str) for n in names):
        return f"expected feature_names as a tuple of at least one text, received {names!r:.80}"
    return None
