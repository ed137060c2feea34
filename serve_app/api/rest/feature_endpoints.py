"""The endpoint that shows the server's windows to readers."""

from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from features.times import iso
from serve_app.api.rest import schemas
from serve_app.api.rest.fields import check_name
from serve_app.api.rest.parsing import parse_predict
from serve_app.api.services import Services
from serve_app.data_plane.requests import PredictionRequest

QUERY_FIELDS = ("model_name", "model_version", "timeframe", "bar")


def add_feature_endpoints(app: FastAPI, services: Services) -> None:
    """Add the endpoint."""

    @app.get(
        "/api/ml/features/{symbol:path}",
        responses=schemas.responses(schemas.WindowResponse),
        openapi_extra={"parameters": schemas.parameters_of_window()},
    )
    async def features(symbol: str, request: Request) -> Response:
        """Return the server's window of a symbol, with the names and the times of its numbers."""
        query = request.scope["query_string"].decode("latin-1")
        window, names = await services.predictions.window(parse_window(symbol, query))
        document = {
            "symbol": window.symbol,
            "timeframe": window.timeframe,
            "model_name": window.version.model,
            "model_version": window.version.version,
            "as_of": iso(window.as_of_ms),
            "features": names,
            "bars": [iso(time) for time in window.time.tolist()],
            "rows": window.rows,
        }
        content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")


def parse_window(symbol: str, query: str) -> PredictionRequest:
    """Return the request for a window.

    >>> parse_window("EURUSD", "bar=1767571200000&model_name=m").bar
    1767571200000

    Raises:
        InvalidRequestError: a field is unknown, occurs twice, or has no meaning.
    """
    fields: dict[str, Any] = {"symbol": symbol}
    for name, value in parse_qsl(query, keep_blank_values=True):
        check_name("query", name, QUERY_FIELDS, fields)
        is_number = name == "bar" and value.removeprefix("-").isdecimal() and len(value) < 20
        fields[name] = int(value) if is_number else value
    return parse_predict(fields).request
