"""The outputs of a model, decoded into predictions whatever the order of its classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from registry.predictors import Outputs, Row, find_problem, rows_of
from registry.records import DIRECTIONS


class Run(NamedTuple):
    """The timing of the run of the model that computed a prediction."""

    waited_s: float
    """The time during which the window waited for its batch to fill and for the previous run."""
    took_s: float
    """The time that the whole batch took."""


class Probabilities(NamedTuple):
    """The probabilities of the directions, as the model states them: their sum may be rounded."""

    hold: float
    buy: float
    sell: float


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
    probabilities: Probabilities | None = None
    """The probability of each direction; None for a regressor, which has none."""

    @property
    def recorded(self) -> dict[str, Any]:
        """The fields of the record of a prediction that are the model's."""
        hold, buy, sell = self.probabilities or (None, None, None)
        return {
            "direction": self.direction,
            "confidence": self.confidence,
            "expected_return": self.expected_return,
            "hold_probability": hold,
            "buy_probability": buy,
            "sell_probability": sell,
        }

    def with_run(self, run: Run | None) -> "Prediction":
        """Return the prediction with the timing of its run."""
        return Prediction(
            self.direction,
            self.confidence,
            self.expected_return,
            run,
            self.return_quantiles,
            self.probabilities,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A window without a prediction; the other windows of its batch are unaffected."""

    problem: str


def decode(outputs: Outputs, label_map: Mapping[int, str]) -> list[Prediction | Failure]:
    """Turn a batch of outputs into one result per row.

    Args:
        outputs: by meaning, see `registry.outputs`. The probabilities are those of the model, or
            the softmax of its logits. Without a confidence output, the confidence is that of the
            chosen class.
        label_map: HOLD, BUY or SELL by class index; a direction without a class has the
            probability 0.

    Returns:
        A prediction per row, or a failure if an output is not finite or not a probability.
    """
    directions = [DIRECTIONS[label_map[index]] for index in range(len(label_map))]
    return [_decode_row(row, directions) for row in rows_of(outputs)]


def _decode_row(row: Row, directions: Sequence[int]) -> Prediction | Failure:
    problem = find_problem(row)
    if problem is not None:
        return Failure(problem)
    given = row.get("direction_probabilities")
    scores = row["direction_logits"] if given is None else given
    highest = max(scores)
    if given is None:
        exponentials = [math.exp(score - highest) for score in scores]
        total = sum(exponentials)
        by_class = [value / total for value in exponentials]
    else:
        by_class = [min(max(value, 0.0), 1.0) for value in given]
    chosen = scores.index(highest)
    confidence = row["confidence"][0] if "confidence" in row else by_class[chosen]
    probabilities = [0.0] * len(DIRECTIONS)
    for direction, probability in zip(directions, by_class, strict=True):
        probabilities[direction] = probability
    return Prediction(
        directions[chosen],
        min(max(confidence, 0.0), 1.0),
        row["expected_return"][0] if "expected_return" in row else None,
        None,
        None,
        Probabilities(*probabilities),
    )
