"""The endpoint for series of predictions."""

import asyncio

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.rest import schemas
from serve_app.api.rest.bodies import prefers_arrow, read_body
from serve_app.api.rest.disconnects import ClientWatch
from serve_app.api.rest.series_documents import encode_arrow, encode_json
from serve_app.api.rest.series_parsing import read_series
from serve_app.api.rest.slices import TimeSlices
from serve_app.api.services import Services


def add_series_endpoints(app: FastAPI, services: Services, slices: TimeSlices) -> None:
    """Add the endpoint."""

    @app.post(
        "/api/ml/predict/series",
        responses=schemas.responses_of_series(),
        openapi_extra=schemas.body_of(schemas.SeriesBody),
    )
    async def predict_series(request: Request) -> Response:
        """Return the predictions at many bars of a symbol, or for many rows of features."""
        series_request = await slices.run(read_series(await read_body(request)))
        with ClientWatch(request):
            series = await services.series.predict(series_request)
        if prefers_arrow(request.headers.get("accept", "")):
            content = await asyncio.to_thread(encode_arrow, series)
            return Response(content, media_type=schemas.ARROW)
        content = await slices.run(encode_json(series))
        return Response(content, media_type="application/json")
