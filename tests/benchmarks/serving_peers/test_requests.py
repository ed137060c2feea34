"""The same window in each form that a server takes."""

import json

import numpy as np

from benchmarks.serving_peers.requests import as_batch, as_json, as_raw, windows


def test_json_body():
    """A JSON body has every number in row order."""
    (window,) = windows(1)

    document = json.loads(as_json(window).body)

    assert document["symbol"] == "EURUSD"
    assert document["features"] == [number for row in window for number in row]


def test_raw_body():
    """A raw body is little-endian float32 in row order."""
    (window,) = windows(1)

    request = as_raw(window)

    assert request.path == "/api/ml/predict?symbol=EURUSD"
    assert len(request.body) == 60 * 110 * 4
    assert np.array_equal(np.frombuffer(request.body, "<f4").reshape(60, 110), window.astype("f4"))


def test_batch_body():
    """A batch body holds the requested number of windows."""
    document = json.loads(as_batch(windows(1)[0], 32).body)

    assert len(document["requests"]) == 32
