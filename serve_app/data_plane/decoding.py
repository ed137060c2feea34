"""The outputs of a model, decoded into predictions whatever the order of its classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from registry.predictors import Outputs, Row, find_problem, rows_of
from registry.records import DIRECTIONS


class Run(NamedTuple):
    """The timing of the run of the model that computed a prediction."""

    waited_s: float
    """The time during which the window waited for its batch to fill and for the previous run."""
    took_s: float
    """The time that the whole batch took."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one window."""

    direction: int
    """0 HOLD, 1 BUY, 2 SELL."""
    confidence: float
    """Between 0 and 1."""
    expected_return: float | None
    """The market's return over the model's horizon, as a fraction; None if the model has no such
    output."""
    run: Run | None = field(default=None, compare=False)
    """None if no model computed the prediction. Comparisons ignore it."""
    return_quantiles: Mapping[str, float] | None = None
    """The quantiles of that return by level, ascending, as the model computed them: they may cross.
    None if the model has none."""

    def with_run(self, run: Run) -> "Prediction":
        """Return the prediction with the timing of its run."""
        return Prediction(
            self.direction, self.confidence, self.expected_return, run, self.return_quantiles
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A window without a prediction; the other windows of its batch are unaffected."""

    problem: str


def decode(outputs: Outputs, label_map: Mapping[int, str]) -> list[Prediction | Failure]:
    """Turn a batch of outputs into one result per row.

    Args:
        outputs: by meaning, see `registry.outputs`. Without a confidence output, the confidence is
            the probability of the chosen class: the softmax of the logits.
        label_map: HOLD, BUY or SELL by class index.

    Returns:
        A prediction per row, or a failure if an output is not finite or not a probability.
    """
    directions = [DIRECTIONS[label_map[index]] for index in range(len(label_map))]
    return [_decode_row(row, directions) for row in rows_of(outputs)]


def _decode_row(row: Row, directions: Sequence[int]) -> Prediction | Failure:
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
        directions[scores.index(highest)],
        min(max(confidence, 0.0), 1.0),
        row["expected_return"][0] if "expected_return" in row else None,
    )
