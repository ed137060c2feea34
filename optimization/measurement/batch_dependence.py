"""Whether an answer depends on what else is in the batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optimization.measurement.parity import Model, compare_outputs, run_all
from optimization.measurement.windows import noise
from optimization.runtime import Windows

BATCH = 32
_WINDOWS = 64
_LOUDER = 10.0
"""By how much the loud batch-mate exceeds the largest window: a feature that jumps, a bad tick."""

_ROUNDING_OF_SPREAD, _ROUNDING_OF_VALUE = 1e-4, 2e-6
"""What the order of single-precision sums, which batches change too, may move an element by: a
share of what windows differ by and one of the output's largest element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDependence:
    """How far the same window's answer moves with its batch-mates."""

    max_abs_difference: Mapping[str, float]
    """Between alone and in a batch of 32, the largest of a single element, by output."""
    max_abs_difference_loud: Mapping[str, float]
    """The same where one mate is ten times as large as the largest."""
    directions_changed: float | None
    """Share of the windows that get another direction beside the loud mate."""
    depends: bool
    """Whether that is more than rounding."""


def measure_batch_dependence(
    model: Model, windows: Windows, direction: str | None = None
) -> BatchDependence:
    """Run windows alone, in batches, and in batches with one loud mate, and compare."""
    some = windows[np.linspace(0, len(windows) - 1, min(_WINDOWS, len(windows))).astype(int)]
    alone = run_all(model, some, batch=1)
    batched = compare_outputs(alone, run_all(model, some, BATCH), direction)
    loud_mate = _loud(windows)
    answers = [
        model(np.concatenate([some[start : start + BATCH - 1], loud_mate]))
        for start in range(0, len(some), BATCH - 1)
    ]
    loud = compare_outputs(
        alone,
        {name: np.concatenate([answer[name][:-1] for answer in answers]) for name in alone},
        direction,
    )
    agreement = loud.direction_agreement
    # Written so that NaN counts as dependence.
    same = all(
        difference
        <= _ROUNDING_OF_SPREAD * parity.spread[name]
        + _ROUNDING_OF_VALUE * np.abs(alone[name]).max(initial=0)
        for parity in (batched, loud)
        for name, difference in parity.max_abs_difference.items()
    )
    return BatchDependence(
        max_abs_difference=dict(batched.max_abs_difference),
        max_abs_difference_loud=dict(loud.max_abs_difference),
        directions_changed=None if agreement is None else 1 - agreement,
        depends=not same,
    )


def _loud(windows: Windows) -> Windows:
    """Return one window that is far larger than all others; noise where they are all zero."""
    magnitudes = np.abs(windows.reshape(len(windows), -1)).max(axis=1)
    number = int(magnitudes.argmax())
    loudest = windows[number : number + 1] if magnitudes[number] else noise(windows.shape[1:], 1)
    return loudest * np.float32(_LOUDER)
