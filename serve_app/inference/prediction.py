"""What a model answers for one window, whatever the order of its classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.records import DIRECTIONS, OUTPUTS

Windows: TypeAlias = NDArray[np.float32]
Outputs: TypeAlias = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one window."""

    direction: int
    """0 HOLD, 1 BUY, 2 SELL."""
    confidence: float
    """Between 0 and 1."""
    expected_return: float
    """Return of the market over the model's horizon, as a fraction."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one window of a batch has no prediction; its batch-mates have theirs."""

    problem: str


def decode(outputs: Outputs, label_map: Mapping[int, str]) -> list[Prediction | Failure]:
    """Turn a batch of outputs into one result a row.

    Args:
        outputs: by meaning, `direction_logits` (batch, 3), `confidence` (batch, 1) and
            `expected_return` (batch, 1).
        label_map: HOLD, BUY or SELL by class index.

    Returns:
        A prediction a row, or a failure where an output is not finite.
    """
    wire = [DIRECTIONS[label_map[index]] for index in range(len(DIRECTIONS))]
    finite = np.all([np.isfinite(outputs[name]).all(axis=1) for name in OUTPUTS], axis=0)
    classes = outputs["direction_logits"].argmax(axis=1).tolist()
    confidences = outputs["confidence"][:, 0].tolist()
    returns = outputs["expected_return"][:, 0].tolist()
    return [
        Prediction(wire[index], confidence, expected_return)
        if usable
        else Failure("an output is NaN or infinite")
        for index, confidence, expected_return, usable in zip(
            classes, confidences, returns, finite.tolist(), strict=True
        )
    ]
