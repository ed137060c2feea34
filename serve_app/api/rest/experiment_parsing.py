"""Parses JSON into definitions and outcomes of experiments. Pure: no IO."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError

from serve_app.errors import BodyTooLargeError, InvalidRequestError
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.records import Outcome

MAX_OUTCOMES = 10_000
"""The largest number of outcomes in one body."""

MAX_SHOWN = 80
"""The number of characters of an invalid value that an error repeats."""


class ParsedOutcomes(NamedTuple):
    """The body of a report of outcomes."""

    outcomes: Sequence[Outcome]
    is_list: bool
    """Whether the body was a list: a single outcome that cannot be recorded is an error."""


def parse_definition(document: object) -> ExperimentDefinition:
    """Return the experiment that a body describes.

    Raises:
        InvalidRequestError: a field is missing, unknown or out of its range.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("request", "a JSON object", type(document).__name__)
    try:
        return ExperimentDefinition.model_validate(document)
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(map(str, found["loc"])) or "request"
        expected = found["msg"].removeprefix("Value error, ")
        received = "nothing" if found["type"] == "missing" else repr(found["input"])[:MAX_SHOWN]
        raise InvalidRequestError(field, expected, received) from None


def parse_outcomes(document: object, now: datetime) -> ParsedOutcomes:
    """Return the outcomes in a body.

    Args:
        document: one outcome, or `{"outcomes": [ … ]}`.
        now: the time at which they arrived.

    Raises:
        InvalidRequestError: a field is missing or unknown, or a return is not finite.
        BodyTooLargeError: there are more than MAX_OUTCOMES.
    """
    if not isinstance(document, dict) or "outcomes" not in document:
        return ParsedOutcomes([_outcome(document, now, "")], is_list=False)
    items = document["outcomes"]
    if set(document) != {"outcomes"} or not isinstance(items, list) or not items:
        expected = "outcomes alone, a list of at least one outcome"
        raise InvalidRequestError("request", expected, f"the fields {', '.join(document)}")
    if len(items) > MAX_OUTCOMES:
        raise BodyTooLargeError("outcomes", MAX_OUTCOMES, len(items))
    outcomes = [_outcome(item, now, f"outcomes.{index}.") for index, item in enumerate(items)]
    return ParsedOutcomes(outcomes, is_list=True)


def _outcome(item: object, now: datetime, path: str) -> Outcome:
    if not isinstance(item, dict) or set(item) != {"prediction_id", "market_return"}:
        received = ", ".join(map(str, item)) if isinstance(item, dict) else type(item).__name__
        expected = "an object with prediction_id and market_return"
        raise InvalidRequestError(f"{path}outcome", expected, received[:MAX_SHOWN] or "nothing")
    prediction_id, market_return = item["prediction_id"], item["market_return"]
    if not isinstance(prediction_id, str) or not 0 < len(prediction_id) <= 64:
        expected = "the prediction_id of a response"
        received = repr(prediction_id)[:MAX_SHOWN]
        raise InvalidRequestError(f"{path}prediction_id", expected, received)
    if not isinstance(market_return, int | float) or isinstance(market_return, bool):
        expected = "a finite number, 0.01 for one per cent"
        received = repr(market_return)[:MAX_SHOWN]
        raise InvalidRequestError(f"{path}market_return", expected, received)
    try:
        return Outcome(prediction_id=prediction_id, market_return=float(market_return), time=now)
    except OverflowError:
        expected = "a finite number, 0.01 for one per cent"
        received = "an integer beyond every float"
        raise InvalidRequestError(f"{path}market_return", expected, received) from None
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{path}{error.field}", error.expected, error.received) from None
