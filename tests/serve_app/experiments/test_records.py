"""Records with impossible values are rejected."""

import pickle
from datetime import datetime

import pytest

from serve_app.errors import InvalidRequestError
from serve_app.experiments.records import Variant
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
def test_invalid_prediction(changes, reason):
    """A prediction with an impossible value is rejected, and the error names the field."""
    with pytest.raises(InvalidRequestError, match=reason):
        prediction(**changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6, -1e6])
def test_invalid_outcome(value):
    """An outcome whose value cannot be a return is rejected."""
    with pytest.raises(InvalidRequestError, match="market_return: expected a finite number"):
        outcome(value)


def test_mirrored_records_have_two_keys():
    """The two records of a mirrored request have different keys."""
    records = [prediction(variant=variant, mirrored=True) for variant in Variant]
    assert [record.key for record in records] == [("p0.0", "control"), ("p0.0", "treatment")]
    assert prediction(experiment_id=None, variant=None).key == ("p0.0", "")


def test_pickle_round_trip():
    """A record is equal after pickling."""
    record = prediction(error="overloaded")
    assert pickle.loads(pickle.dumps(record)) == record
