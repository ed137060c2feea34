"""The same window in each form that a server takes."""

import json

import numpy as np

from benchmarks.serving_peers.requests import as_batch, as_json, as_raw, windows


def test_json_has_every_number_in_row_order():
    (window,) = windows(1)

    document = json.loads(as_json(window).body)

    assert document["symbol"] == "EURUSD"
    assert document["features"] == [number for row in window for number in row]


def test_a_raw_body_is_little_endian_float32_in_row_order():
    (window,) = windows(1)

    request = as_raw(window)

    assert request.path == "/api/ml/predict?symbol=EURUSD"
    assert len(request.body) == 60 * 110 * 4
    assert np.array_equal(np.frombuffer(request.body, "<f4").reshape(60, 110), window.astype("f4"))


def test_a_batch_holds_as_many_requests_as_asked_for():
    document = json.loads(as_batch(windows(1)[0], 32).body)

    assert len(document["requests"]) == 32
