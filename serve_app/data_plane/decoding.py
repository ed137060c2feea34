"""What a model answers for one window, whatever the order of its classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from registry.predictors import Outputs, Row, find_problem, rows_of
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

    def of(self, run: Run) -> "Prediction":
        """Return it as it came from a run."""
        return Prediction(self.direction, self.confidence, self.expected_return, run)


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
    return [_decode_row(row, wire) for row in rows_of(outputs)]


def _decode_row(row: Row, wire: Sequence[int]) -> Prediction | Failure:
    problem = find_problem(row)
    if problem is not None:
        return Failure(problem)
    probabilities = row.get("direction_probabilities")
    scores = row["direction_logits"] if probabilities is None else probabilities
    highest = max(scores)
    if "confidence" in row:
        (confidence,) = row["confidence"]
    elif probabilities is not None:
        confidence = highest
    else:
        confidence = 1 / sum(math.exp(score - highest) for score in scores)  # softmax's largest
    return Prediction(
        wire[scores.index(highest)],
        min(max(confidence, 0.0), 1.0),
        row["expected_return"][0] if "expected_return" in row else None,
    )
