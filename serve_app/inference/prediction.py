"""What a model answers for one window, whatever the order of its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.predictors import Outputs, find_problems
from registry.records import DIRECTIONS


class Run(NamedTuple):
    """How the run of the model went that a prediction came from."""

    waited_s: float
    """For batch-mates, and for the run before."""
    took_s: float
    """For the whole batch."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one window."""

    direction: int
    """0 HOLD, 1 BUY, 2 SELL."""
    confidence: float
    """Between 0 and 1."""
    expected_return: float | None
    """Return of the market over the model's horizon, as a fraction; None where it gives none."""
    run: Run | None = field(default=None, compare=False)
    """None for one that no model has computed. Equal answers stay equal however long they took."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one window of a batch has no prediction; its batch-mates have theirs."""

    problem: str


def decode(outputs: Outputs, label_map: Mapping[int, str]) -> list[Prediction | Failure]:
    """Turn a batch of outputs into one result a row.

    Args:
        outputs: by meaning, see `registry.outputs`. The confidence of a model that gives none is
            the probability of the class it chose, the softmax where it gives logits.
        label_map: HOLD, BUY or SELL by class index.

    Returns:
        A prediction a row, or a failure where an output is not finite or no probability.
    """
    wire = [DIRECTIONS[label_map[index]] for index in range(len(DIRECTIONS))]
    problems = find_problems(outputs)
    probabilities = outputs.get("direction_probabilities")
    scores = outputs["direction_logits"] if probabilities is None else probabilities
    if "confidence" in outputs:
        confidences = outputs["confidence"][:, 0]
    elif probabilities is not None:
        confidences = probabilities.max(axis=1)
    else:
        confidences = _largest_softmax(scores)
    returns: Sequence[float | None] = (
        outputs["expected_return"][:, 0].tolist()
        if "expected_return" in outputs
        else [None] * len(scores)
    )
    return [
        Prediction(wire[index], min(max(confidence, 0.0), 1.0), expected_return)
        if problem is None
        else Failure(problem)
        for index, confidence, expected_return, problem in zip(
            scores.argmax(axis=1).tolist(), confidences.tolist(), returns, problems, strict=True
        )
    ]


def _largest_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # A row with infinite logits gives NaN here, and is a failure in the end.
    with np.errstate(invalid="ignore", over="ignore"):
        below_largest = logits - logits.max(axis=1, keepdims=True)
    probabilities: NDArray[np.float32] = 1 / np.exp(below_largest).sum(axis=1)
    return probabilities
