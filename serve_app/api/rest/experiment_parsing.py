"""Parses JSON into definitions and outcomes of experiments. Pure: no IO."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from serve_app.api.rest.fields import check_name, is_printable
from serve_app.api.rest.json_reader import JsonReader
from serve_app.api.rest.parsing import read_object
from serve_app.api.rest.slices import Steps
from serve_app.data_plane.windows import MAX_SHOWN, describe
from serve_app.errors import BodyTooLargeError, InvalidRequestError, NoSuchExperimentError
from serve_app.experiments.definition import EXPERIMENT_ID, ExperimentDefinition
from serve_app.experiments.records import MAX_OUTCOMES, Outcome

MAX_ID = 64
"""The largest number of characters of a prediction's id."""

_ID = re.compile(EXPERIMENT_ID.removesuffix("$"))
_DEFINITION_FIELDS = tuple(ExperimentDefinition.model_fields)
_OUTCOMES = "outcomes"
_OUTCOME_FIELDS = ("prediction_id", "market_return")
_LIST_OF_OUTCOMES = "a list of at least one outcome"
_OUTCOMES_PER_STEP = 64


class ParsedOutcomes(NamedTuple):
    """The body of a report of outcomes."""

    outcomes: Sequence[Outcome]
    is_list: bool
    """Whether the body was a list: a single outcome that cannot be recorded is an error."""


def check_id(experiment_id: str) -> str:
    """Return the id of an experiment from a URL.

    Raises:
        NoSuchExperimentError: no experiment can have that id.
    """
    if not _ID.fullmatch(experiment_id):
        shown = ascii(experiment_id[:MAX_SHOWN])
        raise NoSuchExperimentError(shown, f"no experiment {shown}; see GET /api/ml/ab-test")
    return experiment_id


def read_definition(body: bytes) -> ExperimentDefinition:
    """Read the definition of an experiment.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: a field is missing, unknown or out of its range, or occurs twice.
    """
    return parse_definition(read_object(body, _DEFINITION_FIELDS))


def parse_definition(document: Mapping[str, Any]) -> ExperimentDefinition:
    """Return the experiment that the fields of a body describe.

    Raises:
        InvalidRequestError: a field is missing, unknown or out of its range.
    """
    try:
        return ExperimentDefinition.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        field = ".".join(map(str, found["loc"])) or "request"
        expected = found["msg"].removeprefix("Value error, ")
        received = "nothing" if found["type"] == "missing" else describe(found["input"])
        raise InvalidRequestError(field, expected, received) from None


def read_outcomes(body: bytes, now: datetime) -> Steps[ParsedOutcomes]:
    """Read one outcome, or `{"outcomes": [ … ]}`.

    Args:
        body: the body.
        now: the time at which it arrived.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: a field is missing, unknown or of the wrong type, or occurs twice.
        BodyTooLargeError: there are more than MAX_OUTCOMES.
    """
    reader = JsonReader(body)
    fields: dict[str, Any] = {}
    for name in reader.members("request"):
        check_name("request", name, (*_OUTCOME_FIELDS, _OUTCOMES), fields)
        if name == _OUTCOMES:
            fields[name] = yield from _read_list(reader, now)
        else:
            fields[name] = reader.value(name)
    reader.finish()
    if _OUTCOMES not in fields:
        return ParsedOutcomes([_outcome(fields, now)], is_list=False)
    if len(fields) > 1 or not fields[_OUTCOMES]:
        expected = "outcomes alone, a list of at least one outcome"
        received = f"the fields {', '.join(fields)}" if len(fields) > 1 else "a list of 0"
        raise InvalidRequestError("request", expected, received)
    return ParsedOutcomes(fields[_OUTCOMES], is_list=True)


def _read_list(reader: JsonReader, now: datetime) -> Steps[Sequence[Outcome]]:
    outcomes = []
    for index in reader.items(_OUTCOMES, _LIST_OF_OUTCOMES):
        if index == MAX_OUTCOMES:
            raise BodyTooLargeError("outcomes", MAX_OUTCOMES, index + 1)
        try:
            fields: dict[str, Any] = {}
            for name in reader.members("outcome"):
                check_name("outcome", name, _OUTCOME_FIELDS, fields)
                fields[name] = reader.value(name)
            outcomes.append(_outcome(fields, now))
        except InvalidRequestError as error:
            field = f"{_OUTCOMES}.{index}.{error.field}"
            raise InvalidRequestError(field, error.expected, error.received) from None
        if index % _OUTCOMES_PER_STEP == 0:
            yield
    return outcomes


def _outcome(fields: Mapping[str, Any], now: datetime) -> Outcome:
    if len(fields) < len(_OUTCOME_FIELDS):
        expected = f"an object with {' and '.join(_OUTCOME_FIELDS)}"
        raise InvalidRequestError("outcome", expected, ", ".join(fields) or "nothing")
    prediction_id, market_return = (fields[name] for name in _OUTCOME_FIELDS)
    if (
        not isinstance(prediction_id, str)
        or not 0 < len(prediction_id) <= MAX_ID
        or not is_printable(prediction_id)
    ):
        expected = "the prediction_id of a response"
        raise InvalidRequestError("prediction_id", expected, describe(prediction_id))
    if not isinstance(market_return, int | float) or isinstance(market_return, bool):
        expected = "a finite number, 0.01 for one per cent"
        raise InvalidRequestError("market_return", expected, describe(market_return))
    try:
        return Outcome(prediction_id=prediction_id, market_return=float(market_return), time=now)
    except OverflowError:
        expected = "a finite number, 0.01 for one per cent"
        received = "an integer beyond every float"
        raise InvalidRequestError("market_return", expected, received) from None
