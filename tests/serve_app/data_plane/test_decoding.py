"""From outputs to predictions."""

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure, Prediction, Run, decode
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
    rows = [[9, 0, 0], [0, 9, 0], [0, 0, 9]]
    assert [each.direction for each in decode(outputs(rows), IDENTITY)] == [0, 1, 2]


@pytest.mark.parametrize("meaning", ["direction_logits", "direction_probabilities"])
def test_another_class_order_is_mapped_never_mislabelled(meaning):
    """A model trained with 0=SELL, 1=HOLD, 2=BUY answers 2, 0, 1 on the wire."""
    values = {meaning: array(np.eye(3))}
    label_map = {0: "SELL", 1: "HOLD", 2: "BUY"}
    assert [each.direction for each in decode(values, label_map)] == [2, 0, 1]


def test_a_row_that_is_not_finite_fails_alone():
    values = outputs([[9, 0, 0], [0, np.nan, 0], [0, 0, 9]])
    values["confidence"][2] = np.inf
    assert decode(values, IDENTITY) == [
        Prediction(0, 0.5, pytest.approx(0.01)),
        NOT_FINITE,
        NOT_FINITE,
    ]


def test_without_a_confidence_it_is_the_softmax_of_the_chosen_class():
    rows = [[1, 2, 3], [3e38, -3e38, 0], [np.inf, 0, 0]]
    first, second, third = decode({"direction_logits": array(rows)}, IDENTITY)
    assert first.confidence == pytest.approx(np.exp(3) / np.exp([1, 2, 3]).sum(), abs=1e-6)
    assert second == Prediction(0, 1.0, None)
    assert third == NOT_FINITE


def test_without_a_confidence_it_is_the_probability_of_the_chosen_class():
    values = {"direction_probabilities": array([[0.2, 0.7, 0.1]])}
    assert decode(values, IDENTITY) == [Prediction(1, pytest.approx(0.7), None)]


def test_a_confidence_of_the_models_own_wins():
    values = {"direction_probabilities": array([[0.2, 0.7, 0.1]]), "confidence": array([[0.4]])}
    assert decode(values, IDENTITY) == [Prediction(1, pytest.approx(0.4), None)]


def test_an_expected_return_is_never_made_up():
    values = outputs([[9, 0, 0]])
    assert decode(values, IDENTITY)[0].expected_return == pytest.approx(0.01)
    del values["expected_return"]
    assert decode(values, IDENTITY)[0].expected_return is None


def test_rounding_does_not_take_a_confidence_out_of_its_range():
    values = {**outputs([[9, 0, 0]] * 2), "confidence": array([[1.00001], [-0.00001]])}
    assert [each.confidence for each in decode(values, IDENTITY)] == [1.0, 0.0]


@pytest.mark.parametrize("row", [[0.5, 0.7, 0.1], [-0.5, 0.7, 0.8], [3, 2, 1], [0, 0, 0]])
def test_a_row_of_probabilities_that_are_none_fails_alone(row):
    good, bad = decode({"direction_probabilities": array([[0.2, 0.7, 0.1], row])}, IDENTITY)
    assert good.direction == 1
    assert bad == Failure("direction_probabilities are not between 0 and 1 with a sum of 1")


def test_infinite_probabilities_are_called_infinite():
    values = {"direction_probabilities": array([[np.inf, -np.inf, 1]])}
    assert decode(values, IDENTITY) == [NOT_FINITE]


@pytest.mark.parametrize("confidence", [1.1, -0.1, 70])
def test_a_confidence_that_is_no_probability_fails(confidence):
    values = outputs([[9, 0, 0]], confidence=confidence)
    assert decode(values, IDENTITY) == [Failure("confidence is not between 0 and 1")]


def test_answers_are_equal_however_long_they_took():
    assert Prediction(1, 0.5, 0.01, run=Run(0.1, 0.2)) == Prediction(1, 0.5, 0.01)
    assert Prediction(1, 0.5, 0.01) != Prediction(1, 0.5, 0.02)
