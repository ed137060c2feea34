"""From JSON to definitions and outcomes."""

import json
import math
from datetime import UTC, datetime

import pytest

from serve_app.api.rest.experiment_parsing import (
    parse_definition,
    read_definition,
    read_outcomes,
)
from serve_app.api.rest.slices import run_at_once
from serve_app.errors import BodyTooLargeError, InvalidRequestError
from serve_app.experiments.records import MAX_OUTCOMES
from tests.serve_app.core import DEFINITION

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"control_traffic": 0.9, "treatment_traffic": 0.2}, "sum to 1.1, expected 1"),
        ({"control_traffic": 1.5, "treatment_traffic": -0.5}, "control_traffic: .*equal to 1"),
        ({"treatment_model_version": "1.0.0"}, "expected two different versions"),
        ({"treatment_model_version": "newest"}, "semantic version"),
        ({"experiment_id": "../x"}, "experiment_id"),
        ({"trafic": 0.5}, "trafic: expected Extra inputs are not permitted"),
        ({"duration_hours": math.nan}, "duration_hours"),
    ],
)
def test_invalid_definition_names_its_field(changes, expected):
    """A definition that is invalid is rejected with the name of the field."""
    with pytest.raises(InvalidRequestError, match=expected):
        parse_definition({**DEFINITION, **changes})


def test_definition_must_be_an_object():
    """A body that is not a JSON object is rejected."""
    with pytest.raises(InvalidRequestError, match="a JSON object, received a list of 0"):
        read_definition(b"[]")


def test_definition_is_read():
    """A definition is read from JSON; an unknown name is rejected before its value is read."""
    assert read_definition(json.dumps(DEFINITION).encode()) == parse_definition(DEFINITION)
    with pytest.raises(InvalidRequestError, match="the unknown 'trafic'"):
        read_definition(b'{"trafic": @')


def outcomes(document):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return run_at_once(read_outcomes(body, NOW))


def test_single_outcome_and_list_are_distinguished():
    """A single outcome and a list of one are parsed alike, and distinguished."""
    one = {"prediction_id": "p1", "market_return": 0.1}
    single, listed = outcomes(one), outcomes({"outcomes": [one]})
    assert single.outcomes == listed.outcomes
    assert (single.outcomes[0].prediction_id, single.outcomes[0].time) == ("p1", NOW)
    assert (single.is_list, listed.is_list) == (False, True)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "an object with prediction_id and market_return, received nothing"),
        ([], "received a list of 0"),
        ({"prediction_id": "p1"}, "received prediction_id"),
        ({"prediction_id": "", "market_return": 0}, "the prediction_id of a response"),
        ({"prediction_id": "p1", "market_return": "0.1"}, "a finite number, 0.01 for one per cent"),
        ({"prediction_id": "p1", "market_return": True}, "received true"),
        ({"prediction_id": "p1", "market_return": math.nan}, "market_return"),
        ({"prediction_id": "p1", "market_return": math.inf}, "market_return"),
        ({"outcomes": []}, "a list of at least one outcome"),
        ({"outcomes": {}}, "outcomes: expected a list .*, received an object"),
        ({"outcomes": [1]}, r"outcomes\.0\.outcome: expected a JSON object, received 1"),
        ({"outcomes": [{"x": 1}]}, r"outcomes\.0\.outcome: .* the unknown 'x'"),
        ({"prediction_id": "p1\0", "market_return": 0}, r"received the text 'p1\\x00'"),
        ({"prediction_id": "\ud800", "market_return": 0}, "the prediction_id of a response"),
        ({"prediction_id": "p1", "outcomes": [{}]}, "outcome: expected an object with"),
        (
            {"prediction_id": "p1", "outcomes": []},
            "outcomes alone, .*, received the fields prediction_id, outcomes",
        ),
        ({"outcomes": [{"prediction_id": "p1", "market_return": None}]}, r"outcomes\.0\.market"),
        ({"prediction_id": "p1", "market_return": 10**400}, "market_return: .* beyond every float"),
        (
            {
                "outcomes": [
                    {"prediction_id": "p1", "market_return": 0.1},
                    {"prediction_id": "p2", "market_return": 5000},
                ]
            },
            r"outcomes\.1\.market_return: expected a finite number from -1000 to 1000",
        ),
    ],
)
def test_invalid_outcome_is_rejected(document, expected):
    """A body that is not an outcome is rejected with what was expected and received."""
    with pytest.raises(InvalidRequestError, match=expected):
        outcomes(document)


def test_number_of_outcomes_is_limited():
    """A list with more outcomes than the limit is rejected whole."""
    one = {"prediction_id": "p1", "market_return": 0.1}
    with pytest.raises(BodyTooLargeError, match="at most 10000 outcomes"):
        outcomes({"outcomes": [one] * (MAX_OUTCOMES + 1)})
