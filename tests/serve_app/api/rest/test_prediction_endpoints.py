"""The endpoints for predictions over ASGI."""

import numpy as np
import pytest

from serve_app.api.rest import schemas
from serve_app.api.rest.schemas import RAW
from serve_app.data_plane.timing import TimingSection
from tests.serve_app.api.rest.bodies import JSON, LIMIT_BYTES, body, check_error
from tests.serve_app.core import NO_PREDICTION, WINDOW


def test_prediction_follows_its_schema(http):
    """The response to a request for one prediction follows its schema."""
    response = http.post("/api/ml/predict", json=body())
    assert response.status_code == 200
    prediction = schemas.PredictResponse.model_validate_json(response.content)
    assert prediction.prediction.direction == 1
    assert prediction.variant is None
    assert "fallback" not in response.json()


def test_batch_follows_its_schema(http):
    """The response to a batch has an entry per request, and a failed one keeps its position."""
    requests = [body(), body([1]), "no object", body(NO_PREDICTION)]
    response = http.post("/api/ml/predict/batch", json={"requests": requests})
    assert response.status_code == 200
    batch = schemas.BatchResponse.model_validate_json(response.content)
    first, *failed = batch.predictions
    assert isinstance(first, schemas.PredictResponse)
    assert [(item.symbol, item.error.code) for item in failed] == [
        ("BTCUSDT", "invalid_features"),
        (None, "invalid_request"),
        ("BTCUSDT", "model_output"),
    ]
    assert (batch.succeeded, batch.failed) == (1, 3)


def test_large_body_is_rejected(http):
    """A body beyond the limit is rejected, whether its length is announced or not."""
    large = b"x" * (LIMIT_BYTES + 1)
    error = check_error(http.post("/api/ml/predict", content=large, headers=JSON), 413, "too_large")
    assert (error["limit"], error["received"]) == (LIMIT_BYTES, LIMIT_BYTES + 1)
    check_error(http.post("/api/ml/predict", content=iter([large]), headers=JSON), 413, "too_large")


def test_body_of_numbers_equals_json(http):
    """A body of raw numbers has the same prediction as the same numbers in JSON."""
    raw = np.array(WINDOW, dtype="<f4").tobytes()
    headers = {"content-type": RAW}
    response = http.post("/api/ml/predict?symbol=BTCUSDT", content=raw, headers=headers)
    expected = http.post("/api/ml/predict", json=body()).json()["prediction"]
    assert response.json()["prediction"] == expected
    without_symbol = http.post("/api/ml/predict", content=raw, headers=headers)
    check_error(without_symbol, 422, "invalid_request")


def test_timings_are_returned_on_request(http, observed):
    """The timing sections are always observed, and returned only on request."""
    assert "timings" not in http.post("/api/ml/predict", json=body()).json()
    response = http.post("/api/ml/predict", json=body(timings=True))
    prediction = schemas.PredictResponse.model_validate_json(response.content)
    timings = prediction.timings.model_dump()
    assert all(took_ms >= 0 for took_ms in timings.values() if took_ms is not None)
    assert {"read", "parse", "route", "queue", "serialise"} == {*map(str, observed[0])}
    assert timings["read_ms"] == pytest.approx(observed[1][TimingSection.READ] * 1e3)


def test_timings_are_rejected_in_a_batch(http):
    """A request of a batch cannot have its own timing sections."""
    requests = {"requests": [body(timings=True)]}
    (failed,) = http.post("/api/ml/predict/batch", json=requests).json()["predictions"]
    assert "timings: expected only in a single request" in failed["error"]["message"]
