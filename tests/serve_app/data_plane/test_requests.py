"""The fields of a request for a prediction, which several interfaces repeat."""

import inspect

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
    assert {*QUERY_FIELDS} == {*FIELDS, "timings", "shape"} - {"features"}


def test_parsing_keeps_every_field():
    """No field of a body is lost on its way into a request."""
    document = {name: f"value of {name}" for name in FIELDS}
    request, _ = parse_predict(document)
    assert {name: getattr(request, name) for name in FIELDS} == document
