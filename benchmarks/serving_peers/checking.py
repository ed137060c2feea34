"""Checks that a server responds, and that all servers return the same outputs."""

import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.error import HTTPError, URLError

from benchmarks.serving_peers.wrk import Request

TOLERANCE = 1e-4

_NOT_YET = {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}
"""The statuses of a proxy that has no servers yet."""


class RefusedError(Exception):
    """A response with another status than 200."""

    def __init__(self, url: str, status: int, text: str) -> None:
        super().__init__(url, status, text)
        self.url, self.status, self.text = url, status, text

    def __str__(self) -> str:
        return f"{self.url}: expected 200, received {self.status}: {self.text}"


class UnequalAnswersError(Exception):
    """Two servers differ on the same window, so that their timings are not comparable."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's outputs for one window."""

    direction: int
    confidence: float
    expected_return: float


def ask(url: str, request: Request) -> Answer:
    """Send one request.

    Raises:
        RefusedError: the answer is not 200.
    """
    target = f"{url}{request.path}"
    call = urllib.request.Request(  # noqa: S310 - a server of ours
        target, request.body, {"Content-Type": request.content_type}, method="POST"
    )
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:  # noqa: S310
            status, text = answer.status, answer.read()
    except HTTPError as error:
        raise RefusedError(target, error.code, error.read().decode()[:500]) from None
    if status != HTTPStatus.OK:
        raise RefusedError(target, status, text.decode()[:500])
    document = json.loads(text)
    # BentoML's batches of one are lists of one.
    (single,) = document if isinstance(document, list) else [document]
    prediction = single["prediction"]
    return Answer(prediction["direction"], prediction["confidence"], prediction["expected_return"])


def require_equal(answers: Mapping[str, Sequence[Answer]]) -> None:
    """Return if all servers return the same outputs for every window.

    Args:
        answers: by server, one a window, in the same order.

    Raises:
        UnequalAnswersError: another direction, or a number that is further away than TOLERANCE.
    """
    first, *others = answers
    for other in others:
        for index, (one, two) in enumerate(zip(answers[first], answers[other], strict=True)):
            if (
                one.direction != two.direction
                or abs(one.confidence - two.confidence) > TOLERANCE
                or abs(one.expected_return - two.expected_return) > TOLERANCE
            ):
                raise UnequalAnswersError(
                    f"window {index}: {first} answers {one}, {other} answers {two}; "
                    f"expected the same direction and numbers within {TOLERANCE}"
                )


def is_answering(url: str) -> bool:
    """Return whether anything responds there, with whatever status."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a server of ours
            return True
    except HTTPError:
        return True
    except (URLError, ConnectionError, TimeoutError):
        return False


def wait_until_ready(url: str, request: Request, timeout_s: float = 60.0) -> None:
    """Return as soon as a request gets 200 from a server that may still be starting.

    Raises:
        RefusedError: it is refused for what it is, or still after the timeout.
        URLError: nothing can be reached after the timeout.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            ask(url, request)
        except (RefusedError, URLError, ConnectionError) as error:
            is_passing = not isinstance(error, RefusedError) or error.status in _NOT_YET
            if not is_passing or time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)
        else:
            return
