"""Compares rows of features bit for bit."""

from dataclasses import dataclass

import numpy as np

from features.bars import Ints
from features.feature_sets.rows import Rows
from features.times import iso


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that differs between two computations of one row."""

    time_ms: int
    """The opening of the row's bar."""
    feature: str
    """The name of the feature."""
    expected: float
    """The value from the longer or unchanged bars."""
    received: float
    """The value from the shorter or changed bars."""

    def __str__(self) -> str:
        return (
            f"{self.feature} of the bar {iso(self.time_ms)} is {self.received!r} instead of "
            f"{self.expected!r}"
        )


def find_difference(
    expected: Rows, received: Rows, time: Ints, feature_names: tuple[str, ...]
) -> Difference | None:
    """Return the first value whose bits differ, by row and then by feature, or None.

    Args:
        expected: rows of features.
        received: other rows of the same bars.
        time: the opening of the bar of each row.
        feature_names: the names of the columns.
    """
    is_different = expected.view(np.uint32) != received.view(np.uint32)
    if not is_different.any():
        return None
    row, column = np.argwhere(is_different)[0].tolist()
    return Difference(
        int(time[row]),
        feature_names[column],
        float(expected[row, column]),
        float(received[row, column]),
    )
