"""A record that cannot have happened is refused."""

import pickle
from datetime import datetime

import pytest

from serve_app.errors import InvalidRequestError
from serve_app.experiments.records import Variant, market_class
from tests.serve_app.experiments.factories import outcome, prediction


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"latency_ms": float("nan")}, "latency_ms: expected a finite number from 0"),
        ({"latency_ms": -1.0}, "received -1.0"),
        ({"direction": 3}, "0, 1 or 2"),
        ({"direction": None}, "either a direction or an error"),
        ({"direction": 1, "error": "prediction_failed"}, "either a direction or an error"),
        ({"variant": None}, "a variant with an experiment_id"),
        ({"treatment_share": 1.5}, "treatment_share"),
        ({"time": datetime(2026, 1, 5)}, "with its time zone"),
    ],
)
def test_an_impossible_prediction_is_refused(changes, reason):
    with pytest.raises(InvalidRequestError, match=reason):
        prediction(**changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6, -1e6])
def test_an_outcome_that_is_no_return_is_refused(value):
    with pytest.raises(InvalidRequestError, match="market_return: expected a finite number"):
        outcome(value)


def test_the_two_records_of_a_mirrored_request_have_two_keys():
    records = [prediction(variant=variant, mirrored=True) for variant in Variant]
    assert [record.key for record in records] == [("p0.0", "control"), ("p0.0", "treatment")]
    assert prediction(experiment_id=None, variant=None).key == ("p0.0", "")


def test_records_travel_between_processes():
    record = prediction(error="overloaded")
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize(
    ("market_return", "dead_band", "expected"),
    [(0.0, 0.0, 0), (1e-9, 0.0, 1), (-1e-9, 0.0, 2), (0.001, 0.001, 0), (-0.0011, 0.001, 2)],
)
def test_hold_is_right_within_the_dead_band(market_return, dead_band, expected):
    assert market_class(market_return, dead_band) == expected
