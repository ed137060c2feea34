"""HTTP: reads a body, lets the service answer, writes the answer. Nothing is decided here."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve_app.api.rest import schemas
from serve_app.api.rest.bodies import parse_body
from serve_app.api.rest.disconnects import ClientWatch
from serve_app.api.rest.errors import body_of, headers_of, status_of
from serve_app.api.rest.parsing import parse_batch, parse_json, parse_reload
from serve_app.control_plane.experiment_service import ExperimentService
from serve_app.data_plane.predictions import PredictionService
from serve_app.data_plane.timing import Stage, Stopwatch, in_ms
from serve_app.errors import BodyTooLargeError, ServingError
from serve_app.experiments.definition import ExperimentDefinition

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

CLIENT_CLOSED_REQUEST = 499
"""As proxies log a client that left before it was answered."""


class Api(FastAPI):
    """Answers its `hot` endpoints by themselves, without FastAPI's layers.

    Those take 0.1 ms a request, and the hot endpoints use nothing of them but the documentation.
    `count` is told the path and the status of each answer of a hot endpoint.
    """

    def __init__(self, title: str, description: str, count: Callable[[str, int], None]) -> None:
        super().__init__(title=title, description=description)
        self._hot: dict[tuple[str, str], Endpoint] = {}
        self._count = count

    def make_hot(self, path: str, endpoint: Endpoint) -> None:
        """Answer POST to `path` with `endpoint` alone; it is an endpoint of this app already."""
        self._hot["POST", path] = endpoint

    def is_hot(self, scope: Scope) -> bool:
        """Return whether a request is for a hot endpoint."""
        return self._hot_endpoint(scope) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        endpoint = self._hot_endpoint(scope)
        if endpoint is None:
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except ServingError as error:
            response = await _on_serving_error(request, error)
        except ClientDisconnect as error:
            response = await _on_disconnect(request, error)
        except Exception as error:  # noqa: BLE001  logged there
            response = await _on_unexpected_error(request, error)
        self._count(scope["path"], response.status_code)
        await response(scope, receive, send)

    def _hot_endpoint(self, scope: Scope) -> Endpoint | None:
        return self._hot.get((scope.get("method", ""), scope.get("path", "")))


def build_http(
    service: PredictionService,
    experiments: ExperimentService,
    max_body_bytes: int,
    observe: Callable[[Mapping[Stage, float]], None],
    count: Callable[[str, int], None],
) -> Api:
    """Return the ASGI application in front of both services.

    Args:
        service: answers predictions.
        experiments: answers what is asked of experiments.
        max_body_bytes: the largest body that is read.
        observe: is told the stages of every prediction that was answered, in seconds.
        count: is told the path and the status of every request for predictions.
    """
    app = Api("tradeserve", "Predictions for trading bots.", count)

    @app.post(
        "/api/ml/predict",
        responses=_responses(schemas.PredictAnswer),
        openapi_extra=schemas.forms_of_predict(),
    )
    async def predict(request: Request) -> Response:
        """Answer one window of features."""
        watch = Stopwatch()
        body = await read_body(request, max_body_bytes)
        watch.lap(Stage.READ)
        content_type = request.headers.get("content-type", "")
        # Not request.url, which is put together anew for each request.
        asked = parse_body(content_type, request.scope["query_string"].decode(), body)
        watch.lap(Stage.PARSE)
        with ClientWatch(request):
            document = await service.predict(asked, watch)
        response = answer(document)
        watch.lap(Stage.SERIALISE)
        observe(watch.spent)
        return answer(document | {"timings": in_ms(watch.spent)}) if asked.timings else response

    @app.post(
        "/api/ml/predict/batch",
        responses=_responses(schemas.BatchAnswer),
        openapi_extra=schemas.body_of(schemas.BatchBody),
    )
    async def predict_batch(request: Request) -> Response:
        """Answer several windows, one entry each, in their order."""
        watch = Stopwatch()
        body = await read_body(request, max_body_bytes)
        watch.lap(Stage.READ)
        # To its end also when the client leaves: a replica goes on with what it was sent, and while
        # it does, the limits must know.
        return answer(await service.predict_batch(parse_batch(parse_json(body)), watch))

    @app.get("/api/ml/models", responses=_responses(list[schemas.ModelEntry]))
    async def models() -> Response:
        """List every version behind this server."""
        return answer(service.models())

    @app.post(
        "/api/ml/models/reload",
        responses=_responses(schemas.ReloadAnswer),
        openapi_extra=schemas.body_of(schemas.ReloadBody),
    )
    async def reload(request: Request) -> Response:
        """Load a version beside the others, then let the stages follow the registry."""
        body = await read_body(request, max_body_bytes)
        return answer(await service.reload(parse_reload(parse_json(body))))

    @app.get("/health", responses=_responses(schemas.HealthAnswer))
    @app.get("/api/ml/health", responses=_responses(schemas.HealthAnswer))
    async def health() -> Response:
        """Say what is ready; 503 when a usual request would have no answer."""
        report = service.health()
        return answer(report, 503 if report["status"] == "unhealthy" else 200)

    app.make_hot("/api/ml/predict", predict)
    app.make_hot("/api/ml/predict/batch", predict_batch)
    add_experiments(app, experiments, max_body_bytes)
    _describe_bodies(app)
    app.add_exception_handler(ServingError, _on_serving_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected_error)
    return app


def add_experiments(app: FastAPI, experiments: ExperimentService, max_body_bytes: int) -> None:
    """Add the endpoints of experiments and outcomes."""

    async def document(request: Request) -> object:
        return parse_json(await read_body(request, max_body_bytes))

    @app.post(
        "/api/ml/ab-test/create",
        responses=_responses(schemas.ExperimentCreated),
        openapi_extra=schemas.body_of(ExperimentDefinition),
    )
    async def create(request: Request) -> Response:
        """Load both variants and divide the model's traffic between them."""
        return answer(await experiments.create(await document(request)))

    @app.get("/api/ml/ab-test", responses=_responses(list[schemas.ExperimentEntry]))
    async def list_all() -> Response:
        """List every experiment, the oldest first."""
        return answer(await experiments.list_all())

    @app.get("/api/ml/ab-test/{experiment_id}/analyze", responses=_responses(dict[str, Any]))
    async def analyse(experiment_id: str) -> Response:
        """Analyse an experiment as of now; looking often does no harm to its verdict."""
        return answer(await experiments.analyse(experiment_id))

    @app.get("/api/ml/ab-test/{experiment_id}/evidence", responses=_responses(dict[str, Any]))
    async def evidence(experiment_id: str) -> Response:
        """Return what a report is made of: definition, summaries by block of time, history."""
        return answer(await experiments.evidence(experiment_id))

    @app.post("/api/ml/ab-test/{experiment_id}/stop", responses=_responses(dict[str, Any]))
    async def stop(experiment_id: str) -> Response:
        """End an experiment and return its final analysis."""
        return answer(await experiments.stop(experiment_id))

    @app.post(
        "/api/ml/outcomes",
        responses=_responses(schemas.OutcomesAnswer),
        openapi_extra=schemas.body_of(schemas.OutcomeBody),
    )
    async def outcomes(request: Request) -> Response:
        """Record what the market did after one prediction, or after several."""
        return answer(await experiments.record(await document(request)))


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Return the request's body, but never more than `limit_bytes` of it.

    Raises:
        BodyTooLargeError: the body is announced or turns out to be larger.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise BodyTooLargeError("bytes", limit_bytes, int(announced))
    chunks, received, is_more = [], 0, True
    while is_more:  # as Request.stream, which would be a generator and two frames more
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > limit_bytes:
            raise BodyTooLargeError("bytes", limit_bytes, received)
        chunks.append(chunk)
        is_more = message.get("more_body", False)
    # Which copies nothing where all of it came at once.
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def answer(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `content` as JSON."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def _describe_bodies(app: FastAPI) -> None:
    """Add the bodies that handlers read by themselves to the OpenAPI document."""
    framework_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        document = framework_openapi()
        document["components"]["schemas"].update(schemas.body_schemas())
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _responses(success: object) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": success}, "default": {"model": schemas.ErrorAnswer}}


async def _on_serving_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    return answer({"error": body_of(error)}, status_of(error), headers_of(error))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)  # nobody is left to read it


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "no_such_endpoint", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "http_error")
    message = f"{request.method} {request.url.path}: {error.detail}; see /docs for the endpoints"
    body = {"error": {"code": code, "message": message}}
    return answer(body, error.status_code, error.headers)


async def _on_unexpected_error(request: Request, error: Exception) -> Response:
    name = request.headers.get("x-request-id", "without an X-Request-ID")
    logger.exception("%s %s (%s) failed", request.method, request.url.path, name, exc_info=error)
    message = "the server failed on this request; its log has the details"
    return answer({"error": {"code": "internal_error", "message": message}}, 500)
