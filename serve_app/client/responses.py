"""What counts as an answer of the model server, and how a failure looks in a batch. Pure."""

from collections.abc import Mapping
from typing import Any

from serve_app.errors import (
    ClientError,
    RequestError,
    ServerRejectedError,
    UnexpectedResponseError,
)

_DIRECTIONS = (0, 1, 2)


def check_prediction(url: str, answer: object) -> dict[str, Any]:
    """Return `answer` if it is a prediction.

    Raises:
        UnexpectedResponseError: it has no direction of 0 (HOLD), 1 (BUY) or 2 (SELL).
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("prediction"), dict):
        raise UnexpectedResponseError(url, "expected a JSON object with a prediction")
    direction = answer["prediction"].get("direction")
    if type(direction) is not int or direction not in _DIRECTIONS:
        raise UnexpectedResponseError(
            url, f"expected a direction of 0, 1 or 2, received {str(direction)[:40]}"
        )
    return answer


def check_batch(url: str, answer: object, count: int) -> list[dict[str, Any]]:
    """Return the `count` entries of a batch's answer, each a prediction or `{symbol, error}`.

    Raises:
        UnexpectedResponseError: there are more or fewer, or one is neither.
    """
    entries = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise UnexpectedResponseError(url, "expected a JSON object with a list of predictions")
    if len(entries) != count:
        raise UnexpectedResponseError(url, f"expected {count} predictions, received {len(entries)}")
    return [entry if is_failed(entry) else check_prediction(url, entry) for entry in entries]


def check_models(url: str, answer: object) -> list[dict[str, Any]]:
    """Return `answer` if it is a list of objects.

    Raises:
        UnexpectedResponseError: it is not.
    """
    if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
        raise UnexpectedResponseError(url, "expected a JSON list of models")
    return answer


def check_success(url: str, answer: object) -> dict[str, Any]:
    """Return `answer` if it says that a command was carried out.

    Raises:
        UnexpectedResponseError: it does not.
    """
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise UnexpectedResponseError(url, "expected a JSON object with the status success")
    return answer


def check_analysis(url: str, answer: object) -> dict[str, Any]:
    """Return `answer` if it is the analysis of an experiment.

    Raises:
        UnexpectedResponseError: it is not.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("recommendation"), dict):
        raise UnexpectedResponseError(url, "expected a JSON object with a recommendation")
    return answer


def check_evidence(url: str, answer: object) -> dict[str, Any]:
    """Return `answer` if it is what a report of an experiment is made of.

    Raises:
        UnexpectedResponseError: it is not.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("blocks"), list):
        raise UnexpectedResponseError(url, "expected a JSON object with a list of blocks")
    return answer


def check_outcomes(url: str, answer: object) -> dict[str, Any]:
    """Return `answer` if it says what became of outcomes.

    Raises:
        UnexpectedResponseError: it does not.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("accepted"), int):
        raise UnexpectedResponseError(url, "expected a JSON object with the number accepted")
    return answer


def is_failed(entry: object) -> bool:
    """Return whether a batch's entry says why there is no prediction."""
    return isinstance(entry, dict) and isinstance(entry.get("error"), dict)


def failed_entry(request: object, error: RequestError | ClientError) -> dict[str, Any]:
    """Return what stands in a batch in the place of a request that got no answer."""
    symbol = request.get("symbol") if isinstance(request, Mapping) else None
    return {"symbol": symbol if isinstance(symbol, str) else None, "error": _error_of(error)}


def _error_of(error: RequestError | ClientError) -> dict[str, Any]:
    if isinstance(error, ServerRejectedError):
        return {**error.details, "code": error.code, "message": error.message}
    return {"code": error.code, "message": str(error), **vars(error)}
