"""The endpoints for predictions, which are served on the fast path."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.rest import schemas
from serve_app.api.rest.bodies import read_body, read_window, read_windows
from serve_app.api.rest.body_guard import BODY_READ_S
from serve_app.api.rest.deadlines import documented
from serve_app.api.rest.disconnects import ClientWatch
from serve_app.api.rest.encoding import (
    batch_document,
    json_response,
    prediction_document,
    timings_document,
)
from serve_app.api.rest.parsing import TIMINGS
from serve_app.api.rest.slices import TimeSlices
from serve_app.api.services import Services
from serve_app.data_plane.deadlines import current_deadline
from serve_app.data_plane.requests import BatchRequest
from serve_app.data_plane.timing import Stopwatch, TimingSection


class PredictionEndpoint(NamedTuple):
    """An endpoint, with FastAPI's arguments for its documentation."""

    path: str
    endpoint: Callable[[Request], Awaitable[Response]]
    documentation: Mapping[str, Any]


def prediction_endpoints(
    services: Services,
    observe: Callable[[Mapping[TimingSection, float]], None],
    slices: TimeSlices,
) -> Iterator[PredictionEndpoint]:
    """Return the endpoints for predictions; see `app.build_rest_api` for the arguments."""

    async def predict(request: Request) -> Response:
        """Return the prediction for one window of features."""
        watch = Stopwatch()
        body = await read_body(request)
        watch.lap(TimingSection.READ)
        watch.add(TimingSection.READ, request.scope.get(BODY_READ_S, 0.0))
        deadline = current_deadline.get()
        deadline.check()
        content_type = request.headers.get("content-type", "")
        # request.url would be built for every request.
        query = request.scope["query_string"].decode("latin-1")
        prediction_request, timings = await slices.run(read_window(content_type, query, body))
        watch.lap(TimingSection.PARSE)
        with ClientWatch(request, deadline):
            prediction = await services.predictions.predict(prediction_request, watch)
        deadline.check()
        document = prediction_document(prediction)
        response = json_response(document)
        watch.lap(TimingSection.SERIALISE)
        observe(watch.spent)
        if timings:
            response = json_response({**document, TIMINGS: timings_document(watch.spent)})
        return response

    async def predict_batch(request: Request) -> Response:
        """Return the predictions for several windows, one entry per request, in their order."""
        watch = Stopwatch()
        body = await read_body(request)
        watch.lap(TimingSection.READ)
        watch.add(TimingSection.READ, request.scope.get(BODY_READ_S, 0.0))
        deadline = current_deadline.get()
        deadline.check()
        content_type = request.headers.get("content-type", "")
        steps = read_windows(content_type, body, services.batches.check_size)
        parsed = await slices.run(steps)
        # No ClientWatch: a replica continues with the windows that it has received, and until it is
        # done they count towards the limits.
        batch = BatchRequest(items=parsed.items, max_batch_size=parsed.max_batch_size)
        response = await services.batches.predict(batch, watch)
        deadline.check()
        return json_response(batch_document(response))

    yield PredictionEndpoint(
        "/api/ml/predict",
        predict,
        {
            "responses": schemas.responses(schemas.PredictResponse),
            "openapi_extra": documented(schemas.forms_of_predict()),
        },
    )
    yield PredictionEndpoint(
        "/api/ml/predict/batch",
        predict_batch,
        {
            "responses": schemas.responses(schemas.BatchResponse),
            "openapi_extra": documented(schemas.body_of(schemas.BatchBody)),
        },
    )
