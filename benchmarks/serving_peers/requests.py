"""One window of features in each form that a server accepts."""

import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving_peers.wrk import Request

SHAPE = (60, 110)
SYMBOL = "EURUSD"
PATH = "/api/ml/predict"

Encode = Callable[[NDArray[np.float64]], Request]


def windows(count: int) -> list[NDArray[np.float64]]:
    """Return seeded windows; 136 KB as JSON, as a bot sends it, and 26 KB as float32."""
    return list(np.random.default_rng(0).standard_normal((count, *SHAPE)))


def as_json(window: NDArray[np.float64]) -> Request:
    """Return the request with a flat list of numbers."""
    return _json(PATH, _fields(window))


def as_list_of_one(window: NDArray[np.float64]) -> Request:
    """Return the request in the form that BentoML's batching requires."""
    return _json(PATH, {"requests": [_fields(window)]})


def as_raw(window: NDArray[np.float64]) -> Request:
    """Return the request with the numbers as little-endian float32."""
    return Request(
        path=f"{PATH}?symbol={SYMBOL}",
        content_type="application/octet-stream",
        body=window.astype("<f4").tobytes(),
    )


def as_batch(window: NDArray[np.float64], count: int) -> Request:
    """Return a body of the batch endpoint with the same window several times."""
    return _json(f"{PATH}/batch", {"requests": [_fields(window)] * count})


def _fields(window: NDArray[np.float64]) -> dict[str, object]:
    return {"symbol": SYMBOL, "features": window.ravel().tolist()}


def _json(path: str, document: object) -> Request:
    return Request(path=path, content_type="application/json", body=json.dumps(document).encode())
