"""Dependence of the outputs for a window on the other windows of its batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optimization.measurement.parity import compare_outputs, run_all
from optimization.measurement.windows import noise
from optimization.runtime import Model, Windows

BATCH = 32
_WINDOWS = 64
_OUTLIER_FACTOR = 10.0
"""The ratio of the outlier to the largest window: a feature that jumps, a bad tick."""

_ROUNDING_OF_SPREAD, _ROUNDING_OF_VALUE = 1e-4, 2e-6
"""The limits of the differences that the order of single-precision sums causes, which varies with
the batch: a share of the output's spread and a share of its largest element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDependence:
    """Differences of the outputs for a window between a batch of its own and a shared batch."""

    max_abs_difference: Mapping[str, float]
    """The largest difference of a single element between batches of 1 and of 32, by output."""
    max_abs_difference_with_outlier: Mapping[str, float]
    """The same in batches with a window ten times as large as the largest."""
    directions_changed: float | None
    """The share of the windows whose direction that outlier changes; None without a direction."""
    depends: bool
    """Whether the differences exceed rounding."""


def measure_batch_dependence(
    model: Model, windows: Windows, direction: str | None = None
) -> BatchDependence:
    """Compare runs of single windows, of batches, and of batches with one outlier."""
    some = windows[np.linspace(0, len(windows) - 1, min(_WINDOWS, len(windows))).astype(int)]
    alone = run_all(model, some, batch=1)
    batched = compare_outputs(alone, run_all(model, some, BATCH), direction)
    outlier = _outlier(windows)
    parts = [
        model(np.concatenate([some[start : start + BATCH - 1], outlier]))
        for start in range(0, len(some), BATCH - 1)
    ]
    with_outlier = compare_outputs(
        alone,
        {name: np.concatenate([part[name][:-1] for part in parts]) for name in alone},
        direction,
    )
    agreement = with_outlier.direction_agreement
    # Written so that NaN counts as dependence.
    same = all(
        difference
        <= _ROUNDING_OF_SPREAD * parity.spread[name]
        + _ROUNDING_OF_VALUE * np.abs(alone[name]).max(initial=0)
        for parity in (batched, with_outlier)
        for name, difference in parity.max_abs_difference.items()
    )
    return BatchDependence(
        max_abs_difference=dict(batched.max_abs_difference),
        max_abs_difference_with_outlier=dict(with_outlier.max_abs_difference),
        directions_changed=None if agreement is None else 1 - agreement,
        depends=not same,
    )


def _outlier(windows: Windows) -> Windows:
    """Return one window that is far larger than all others; noise if all are zero."""
    # NaN is a missing value here, and compares as larger than any number.
    magnitudes = np.abs(np.nan_to_num(windows).reshape(len(windows), -1)).max(axis=1)
    index = int(magnitudes.argmax())
    largest = windows[index : index + 1] if magnitudes[index] else noise(windows.shape[1:], 1)
    return largest * np.float32(_OUTLIER_FACTOR)
