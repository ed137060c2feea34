"""Validates the model server's responses, and writes failures as entries of a batch. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from serve_app.errors import (
    ClientError,
    RequestError,
    ServerRejectedError,
    UnexpectedResponseError,
)

_DIRECTIONS = (0, 1, 2)
"""The wire values of HOLD, BUY and SELL."""
_PUSH_COUNTS = ("accepted", "duplicates", "revised")


def check_prediction(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it is a prediction.

    Raises:
        UnexpectedResponseError: it has no direction of 0 (HOLD), 1 (BUY) or 2 (SELL).
    """
    if not isinstance(response, dict) or not isinstance(response.get("prediction"), dict):
        raise UnexpectedResponseError(url, "expected a JSON object with a prediction")
    direction = response["prediction"].get("direction")
    if type(direction) is not int or direction not in _DIRECTIONS:
        raise UnexpectedResponseError(
            url, f"expected a direction of 0, 1 or 2, received {str(direction)[:40]}"
        )
    return response


def check_batch(url: str, response: object, count: int) -> list[dict[str, Any]]:
    """Return the `count` entries of a batch's response, each a prediction or `{symbol, error}`.

    Raises:
        UnexpectedResponseError: the number of entries differs, or an entry is neither.
    """
    entries = response.get("predictions") if isinstance(response, dict) else None
    if not isinstance(entries, list):
        raise UnexpectedResponseError(url, "expected a JSON object with a list of predictions")
    if len(entries) != count:
        raise UnexpectedResponseError(url, f"expected {count} predictions, received {len(entries)}")
    return [entry if is_failed(entry) else check_prediction(url, entry) for entry in entries]


def check_list(url: str, response: object, content: str) -> list[dict[str, Any]]:
    """Return `response` if it is a list of objects; `content` names them in the error.

    Raises:
        UnexpectedResponseError: it is anything else.
    """
    if not isinstance(response, list) or not all(isinstance(entry, dict) for entry in response):
        raise UnexpectedResponseError(url, f"expected a JSON list of {content}")
    return response


def check_success(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it reports the success of a command.

    Raises:
        UnexpectedResponseError: it is anything else.
    """
    if not isinstance(response, dict) or response.get("status") != "success":
        raise UnexpectedResponseError(url, "expected a JSON object with the status success")
    return response


def check_analysis(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it is the analysis of an experiment.

    Raises:
        UnexpectedResponseError: it is anything else.
    """
    if not isinstance(response, dict) or not isinstance(response.get("recommendation"), dict):
        raise UnexpectedResponseError(url, "expected a JSON object with a recommendation")
    return response


def check_evidence(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it is the evidence for the report of an experiment.

    Raises:
        UnexpectedResponseError: it is anything else.
    """
    if not isinstance(response, dict) or not isinstance(response.get("blocks"), list):
        raise UnexpectedResponseError(url, "expected a JSON object with a list of blocks")
    return response


def check_outcomes(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it reports what was recorded of the outcomes.

    Raises:
        UnexpectedResponseError: it is anything else.
    """
    if not isinstance(response, dict) or not isinstance(response.get("accepted"), int):
        raise UnexpectedResponseError(url, "expected a JSON object with the number accepted")
    return response


def check_push(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it reports what was stored of the bars.

    Raises:
        UnexpectedResponseError: it is anything else.
    """
    is_report = isinstance(response, dict) and isinstance(response.get("rejected"), list)
    if not is_report or not all(isinstance(response.get(name), int) for name in _PUSH_COUNTS):  # type: ignore[attr-defined]
        raise UnexpectedResponseError(url, "expected a JSON object with the numbers of bars")
    return response  # type: ignore[return-value]


def check_bars(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it has a list of bars.

    Raises:
        UnexpectedResponseError: it is anything else.
    """
    if not isinstance(response, dict) or not isinstance(response.get("bars"), list):
        raise UnexpectedResponseError(url, "expected a JSON object with a list of bars")
    return response


def check_series(url: str, response: object) -> dict[str, Any]:
    """Return `response` if it has the predictions of a series.

    Raises:
        UnexpectedResponseError: it is anything else, or one of them has no direction.
    """
    is_series = isinstance(response, dict) and isinstance(response.get("omitted"), list)
    if not is_series or not isinstance(response.get("predictions"), list):  # type: ignore[attr-defined]
        raise UnexpectedResponseError(url, "expected a JSON object with predictions and omitted")
    for entry in response["predictions"]:  # type: ignore[index]
        check_prediction(url, entry)
    return response  # type: ignore[return-value]


def is_failed(entry: object) -> bool:
    """Return whether an entry of a batch is an error instead of a prediction."""
    return isinstance(entry, dict) and isinstance(entry.get("error"), dict)


def failed_entry(request: object, error: RequestError | ClientError) -> dict[str, Any]:
    """Return the entry of a request that failed."""
    symbol = request.get("symbol") if isinstance(request, Mapping) else None
    return {"symbol": symbol if isinstance(symbol, str) else None, "error": _error_of(error)}


def _error_of(error: RequestError | ClientError) -> dict[str, Any]:
    if isinstance(error, ServerRejectedError):
        return {**error.details, "code": error.code, "message": error.message}
    return {"code": error.code, "message": str(error), **vars(error)}


def describe_failures(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """Describe the failed requests of a batch in one line; None if there are none."""
    failed = [entry for entry in entries if is_failed(entry)]
    if not failed:
        return None
    codes = Counter(str(entry["error"].get("code")) for entry in failed)
    counts = ", ".join(f"{count} {code}" for code, count in codes.items())
    first = failed[0]
    return (
        f"{len(failed)} of {len(entries)} requests failed ({counts}); first failure, "
        f"{first.get('symbol')}: {first['error'].get('message')}"
    )
