"""The outputs of models, decoded into predictions."""

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure, Prediction, Probabilities, Run, decode
from testkit.models import IDENTITY

NOT_FINITE = Failure("an output is NaN or infinite")


def array(rows):
    return np.array(rows, dtype=np.float32)


def outputs(logits, confidence=0.5, expected_return=0.01):
    batch = len(logits)
    return {
        "direction_logits": array(logits),
        "confidence": np.full((batch, 1), confidence, dtype=np.float32),
        "expected_return": np.full((batch, 1), expected_return, dtype=np.float32),
    }


def test_directions_are_hold_0_buy_1_sell_2():
    """The largest logit selects the direction: 0 HOLD, 1 BUY, 2 SELL."""
    rows = [[9, 0, 0], [0, 9, 0], [0, 0, 9]]
    assert [prediction.direction for prediction in decode(outputs(rows), IDENTITY)] == [0, 1, 2]


@pytest.mark.parametrize("meaning", ["direction_logits", "direction_probabilities"])
def test_class_order_is_mapped(meaning):
    """The classes of a model trained with 0=SELL, 1=HOLD, 2=BUY become 2, 0, 1."""
    values = {meaning: array(np.eye(3))}
    label_map = {0: "SELL", 1: "HOLD", 2: "BUY"}
    assert [prediction.direction for prediction in decode(values, label_map)] == [2, 0, 1]


def test_row_that_is_not_finite_fails_alone():
    """A row with NaN or infinity is a failure; the other rows are predictions."""
    values = outputs([[9, 0, 0], [0, np.nan, 0], [0, 0, 9]])
    values["confidence"][2] = np.inf
    first, *others = decode(values, IDENTITY)
    assert (first.direction, first.confidence) == (0, 0.5)
    assert others == [NOT_FINITE, NOT_FINITE]


def test_confidence_from_logits_is_the_softmax():
    """Without its own output, the confidence is the softmax of the chosen class."""
    rows = [[1, 2, 3], [3e38, -3e38, 0], [np.inf, 0, 0]]
    first, second, third = decode({"direction_logits": array(rows)}, IDENTITY)
    assert first.confidence == pytest.approx(np.exp(3) / np.exp([1, 2, 3]).sum(), abs=1e-6)
    assert second == Prediction(0, 1.0, None, probabilities=Probabilities(1.0, 0.0, 0.0))
    assert third == NOT_FINITE


def test_confidence_from_probabilities():
    """Without its own output, the confidence is the probability of the chosen class."""
    values = {"direction_probabilities": array([[0.2, 0.7, 0.1]])}
    (prediction,) = decode(values, IDENTITY)
    assert (prediction.direction, prediction.confidence) == (1, pytest.approx(0.7))


def test_own_confidence_takes_precedence():
    """A model's own output for the confidence takes precedence over the probabilities."""
    values = {"direction_probabilities": array([[0.2, 0.7, 0.1]]), "confidence": array([[0.4]])}
    (prediction,) = decode(values, IDENTITY)
    assert (prediction.direction, prediction.confidence) == (1, pytest.approx(0.4))


@pytest.mark.parametrize("meaning", ["direction_logits", "direction_probabilities"])
def test_probabilities(meaning):
    """The probabilities are those of the model, or the softmax of its logits, by direction."""
    expected = np.array([0.2, 0.7, 0.1])
    values = {meaning: array([np.log(expected) + 5 if meaning.endswith("logits") else expected])}
    (prediction,) = decode(values, {0: "SELL", 1: "HOLD", 2: "BUY"})
    assert prediction.probabilities == pytest.approx((0.7, 0.1, 0.2))
    assert prediction.confidence == prediction.probabilities.hold


def test_probability_of_no_class():
    """A direction without a class has the probability 0."""
    values = {"direction_probabilities": array([[0.25, 0.75]])}
    (prediction,) = decode(values, {0: "SELL", 1: "BUY"})
    assert prediction.probabilities == (0.0, 0.75, 0.25)
    assert prediction.with_run(Run(0.1, 0.2)).probabilities == prediction.probabilities


def test_missing_expected_return_is_none():
    """A model without an output for the expected return has None."""
    values = outputs([[9, 0, 0]])
    assert decode(values, IDENTITY)[0].expected_return == pytest.approx(0.01)
    del values["expected_return"]
    assert decode(values, IDENTITY)[0].expected_return is None


def test_rounded_confidence_stays_in_range():
    """A confidence that rounding moved slightly out of its range is clipped."""
    values = {**outputs([[9, 0, 0]] * 2), "confidence": array([[1.00001], [-0.00001]])}
    assert [prediction.confidence for prediction in decode(values, IDENTITY)] == [1.0, 0.0]


@pytest.mark.parametrize("row", [[0.5, 0.7, 0.1], [-0.5, 0.7, 0.8], [3, 2, 1], [0, 0, 0]])
def test_invalid_probabilities_fail_alone(row):
    """A row whose values are not probabilities is a failure; the other rows are predictions."""
    good, bad = decode({"direction_probabilities": array([[0.2, 0.7, 0.1], row])}, IDENTITY)
    assert good.direction == 1
    assert bad == Failure("direction_probabilities are not between 0 and 1 with a sum of 1")


def test_infinite_probabilities_are_reported_as_such():
    """Infinite probabilities are reported as infinite, not as a wrong sum."""
    values = {"direction_probabilities": array([[np.inf, -np.inf, 1]])}
    assert decode(values, IDENTITY) == [NOT_FINITE]


@pytest.mark.parametrize("confidence", [1.1, -0.1, 70])
def test_invalid_confidence_is_a_failure(confidence):
    """A confidence outside 0 to 1 is a failure."""
    values = outputs([[9, 0, 0]], confidence=confidence)
    assert decode(values, IDENTITY) == [Failure("confidence is not between 0 and 1")]


def test_comparison_ignores_the_run():
    """Equal predictions are equal whatever the timing of their runs."""
    assert Prediction(1, 0.5, 0.01, run=Run(0.1, 0.2)) == Prediction(1, 0.5, 0.01)
    assert Prediction(1, 0.5, 0.01) != Prediction(1, 0.5, 0.02)
