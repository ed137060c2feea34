"""Runs the original and the converted model on the same rows and compares the outputs.

Real rows alone are no sufficient test: conversions differ where a value meets a threshold, is zero
or is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.reference_outputs import ORIGINAL, Agreement, compare_with_reference

MAX_THRESHOLDS = 500
"""The number of thresholds, evenly chosen, around which rows are built; three rows for each."""

MAX_DECIMALS = 8
"""The number of decimals of the finest price grid."""

MAX_MOVED = 2000
"""The number of real rows that are moved on their grid."""

MISSING_SHARE = 0.1
"""The share of values that are replaced in the rows with zeros or missing values."""

WINDOWS, THRESHOLDS, ZEROS, MISSING = (
    "given windows",
    "rows on thresholds",
    "rows with zeros",
    "rows with missing values",
)

Rows: TypeAlias = NDArray[np.floating]
"""Rows in float32, or in float64 for a model of doubles, (rows, features)."""

Run: TypeAlias = Callable[[Rows], NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class Check:
    """The comparison on one kind of rows."""

    rows: str
    """The kind of the rows."""
    agreement: Agreement

    @property
    def is_passed(self) -> bool:
        """Return whether the outputs agree on all rows."""
        return not self.agreement.differing


def verification_rows(rows: Rows, thresholds: list[tuple[int, float]]) -> dict[str, Rows]:
    """Return the rows on which a conversion is verified, by their kind.

    Args:
        rows: real rows, in the type of the converted model's input.
        thresholds: the feature and the threshold of the model's splits. Each is met by three rows:
            its value in that type and the values directly below and above it.
    """
    number = rows.dtype.type
    rng = np.random.default_rng(0)
    kinds: dict[str, Rows] = {WINDOWS: rows}
    if thresholds:
        step = max(1, len(thresholds) // MAX_THRESHOLDS)
        chosen = thresholds[::step]
        near = np.repeat(rows[rng.integers(len(rows), size=len(chosen))], 3, axis=0)
        for at, (feature, threshold) in enumerate(chosen):
            value = number(threshold)
            near[3 * at : 3 * at + 3, feature] = (
                np.nextafter(value, number(-np.inf)),
                value,
                np.nextafter(value, number(np.inf)),
            )
        kinds[THRESHOLDS] = near
    sample = rows[:500]
    replaced = rng.random(sample.shape) < MISSING_SHARE
    kinds[ZEROS] = np.where(replaced, number(0), sample)
    kinds[MISSING] = np.where(replaced, number(np.nan), sample)
    return kinds


def rows_on_grid(rows: Rows, thresholds: Sequence[tuple[int, float]]) -> Rows:
    """Return rows of other values of the same decimal grid, such as prices in steps of 0.01.

    Args:
        rows: real rows in float64.
        thresholds: the feature and the threshold of the model's splits; the nearest values of the
            grid are among the rows.

    Returns:
        No rows if no feature has a grid whose values float32 rounds.
    """
    decimals = {feature: _decimals(column) for feature, column in enumerate(rows.T)}
    grids = {feature: count for feature, count in decimals.items() if count is not None}
    if not grids:
        return rows[:0]
    rng = np.random.default_rng(0)
    moved = rows[:MAX_MOVED].copy()
    for feature, count in grids.items():
        steps = rng.integers(-2, 3, size=len(moved)) * 10.0**-count
        moved[:, feature] = np.round(moved[:, feature] + steps, count)
    splits = [(feature, value) for feature, value in thresholds if feature in grids]
    chosen = splits[:: max(1, len(splits) // MAX_THRESHOLDS)]
    near = np.repeat(rows[rng.integers(len(rows), size=len(chosen))], 3, axis=0)
    for at, (feature, threshold) in enumerate(chosen):
        count = grids[feature]
        values = threshold + np.array([-1, 0, 1]) * 10.0**-count
        near[3 * at : 3 * at + 3, feature] = np.round(values, count)
    return np.concatenate([moved, near])


def _decimals(values: NDArray[np.floating]) -> int | None:
    """Return the number of decimals of all values, None if float32 keeps them or they have none."""
    known = values[np.isfinite(values)]
    if (known.astype(np.float32) == known).all():
        return None
    for count in range(MAX_DECIMALS + 1):
        if (np.round(known, count) == known).all():
            return count
    return None


def verify(original: Run, converted: Run, kinds: dict[str, Rows], meaning: str) -> list[Check]:
    """Compare both models on every kind of rows; without MISSING if the original rejects NaN.

    Args:
        original: the model in its own library.
        converted: the converted model.
        kinds: the rows by their kind.
        meaning: the meaning of the output.
    """
    checks = []
    for kind, rows in kinds.items():
        try:
            expected = np.asarray(original(rows))
        except ValueError:
            if kind != MISSING:
                raise
            continue  # the library rejects NaN
        actual = np.asarray(converted(rows))
        if expected.shape != actual.shape:
            actual = np.full(expected.shape, np.nan)
        agreement = compare_with_reference({meaning: expected}, {meaning: actual}, ORIGINAL)
        checks.append(Check(kind, agreement))
    return checks
