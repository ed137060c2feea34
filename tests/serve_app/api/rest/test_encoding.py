"""Responses of the core as JSON documents."""

from datetime import UTC, datetime

import orjson
import pytest

from serve_app.api.rest import schemas
from serve_app.api.rest.encoding import json_response, prediction_document
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.responses import PredictionResponse
from testkit.models import toy


@pytest.mark.parametrize("quantiles", [None, {"0.1": -0.01, "0.5": 0.002, "0.9": 0.03}])
def test_quantiles(quantiles):
    """A prediction of a model of quantiles contains them by level; any other has no such field."""
    response = PredictionResponse(
        prediction_id="a" * 32,
        symbol="EURUSD",
        prediction=Prediction(1, 0.5, 0.002, None, quantiles),
        version=toy("1.0.0"),
        time=datetime(2026, 1, 2, tzinfo=UTC),
        latency_ms=1.0,
    )
    body = json_response(prediction_document(response)).body
    assert orjson.loads(body)["prediction"].get("return_quantiles") == quantiles
    assert ("return_quantiles" in orjson.loads(body)["prediction"]) == (quantiles is not None)
    document = schemas.PredictResponse.model_validate_json(body)
    assert document.prediction.return_quantiles == quantiles
