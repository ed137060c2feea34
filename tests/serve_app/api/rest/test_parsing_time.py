"""The time of parsing hostile bodies: linear in their size, and never long without a pause."""

import math
import time
from datetime import UTC, datetime

import pytest

from serve_app.api.rest.experiment_parsing import read_outcomes
from serve_app.api.rest.parsing import read_batch, read_predict
from serve_app.errors import BodyTooLargeError, RequestError

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIZE = 300_000
LONGEST_STEP_S = 0.05


def check_size(size):
    """Accept a batch of the size that the server accepts by default."""
    if size > 1024:
        raise BodyTooLargeError("requests", 1024, size)


def features(text):
    return lambda body: read_predict(body), b'{"symbol": "A", "features": [%b1]}', text


def window(text):
    return lambda body: read_batch(body, check_size), b'{"requests": [{%b"z": 1}]}', text


def requests(text):
    return lambda body: read_batch(body, check_size), b'{"requests": [%b{}]}', text


def outcomes(text):
    return lambda body: read_outcomes(body, NOW), b'{"outcomes": [%b{}]}', text


# A reader, the frame of a body and the text that is repeated in it.
HOSTILE = {
    "numbers": features(b"1.2345678901234567,"),
    "numbers with many digits": features(b"1.2345678901234567891e-300,"),
    "huge integers": features(b"9" * 400 + b","),
    "not finite": features(b"NaN,"),
    "null at the end": features(b"1,"),
    "texts": features(b'"]",'),
    "rows": features(b"[1],"),
    "spaced rows": features(b"[1] ,\n"),
    "rows that are not finite": features(b"[NaN],"),
    "lists of lists": features(b"[[1]],"),
    "unknown names": window(b'"%d": 1,'),
    "equal names": window(b'"a": 1,'),
    "brackets": window(b'"a": [[],{}],'),
    "brackets in texts": window(b'"a": "]}",'),
    "empty requests": requests(b"{},"),
    "small windows": requests(b'{"symbol": "A", "features": [[1], [2] ]},'),
    "mixed windows": requests(b'{"symbol": "A", "features": [[1], 2]},'),
    "outcomes": outcomes(b'{"prediction_id": "0123456789abcdef", "market_return": 0.01},'),
}


def build(frame, text, size):
    count = size // len(text)
    repeated = b"".join(text % index for index in range(count)) if b"%d" in text else text * count
    return frame % repeated


def measure(steps):
    """Return the processor time of the longest step and of all of them, in seconds."""
    taken = []
    is_done = False
    while not is_done:
        started = time.thread_time()
        try:
            next(steps)
        except (StopIteration, RequestError):
            is_done = True
        taken.append(time.thread_time() - started)
    return max(taken), sum(taken)


@pytest.mark.parametrize("kind", HOSTILE)
def test_twice_the_size_takes_at_most_twice_the_time(kind):
    """A body of twice the size takes less than 2.5 times as long, and no step takes 50 ms."""
    read, frame, text = HOSTILE[kind]
    small, large = build(frame, text, SIZE), build(frame, text, 2 * SIZE)
    longest_s = small_s = large_s = math.inf
    for _ in range(12):  # the minima of few runs, or of more on a busy machine
        small_s = min(small_s, measure(read(small))[1])
        longest, total = measure(read(large))
        longest_s, large_s = min(longest_s, longest), min(large_s, total)
        is_linear = large_s < 2.5 * small_s + 0.0005
        if is_linear and longest_s < LONGEST_STEP_S:
            break
    assert is_linear
    assert longest_s < LONGEST_STEP_S


@pytest.mark.parametrize("levels", [1, 5000])
def test_rejected_names_cost_nothing(levels):
    """An unknown name ends the parsing of a request, however much follows."""
    body = b'{"unknown": 1, "features": [%b1]}' % (b"1," * levels * 100)
    _, total_s = min(measure(read_predict(body)) for _ in range(5))
    assert total_s < 0.001
