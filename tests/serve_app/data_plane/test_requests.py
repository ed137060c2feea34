"""The fields of a request for a prediction, which several interfaces repeat."""

import inspect

import pytest

from serve_app.api.rest.bodies import QUERY_FIELDS
from serve_app.api.rest.parsing import PREDICT_FIELDS, parse_predict
from serve_app.api.rest.schemas import PredictBody
from serve_app.client import ModelClient
from serve_app.data_plane.requests import PredictionRequest
from serve_app.deployments.router import Router

FIELDS = [*PredictionRequest._fields]


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_every_interface_has_the_same_fields():
    """The handle, the client and the REST front end accept the fields of the request type."""
    assert parameters(Router.predict) == FIELDS
    assert parameters(ModelClient.predict) == FIELDS
    assert [*PredictBody.model_fields] == [*FIELDS, "timings"]
    assert [*PREDICT_FIELDS] == [*FIELDS, "timings"]
    of_window = {"timeframe", "bar", "max_age_s"}
    assert {*QUERY_FIELDS} == {*FIELDS, "timings", "shape"} - {"features"} - of_window


@pytest.mark.parametrize("by_symbol", [False, True])
def test_parsing_keeps_every_field(by_symbol):
    """No field of a body is lost on its way into a request, with features or by symbol."""
    document = {name: f"value of {name}" for name in FIELDS}
    of_window = {"timeframe": "1h", "bar": 1767571200000, "max_age_s": 1.5}
    document |= of_window if by_symbol else dict.fromkeys(of_window)
    if by_symbol:
        del document["features"]
    request, _ = parse_predict(document)
    assert request._asdict() == {"features": None, **document}
