"""The endpoints for the served versions and the health of the server."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.rest import schemas
from serve_app.api.rest.access import caller_of
from serve_app.api.rest.bodies import read_body
from serve_app.api.rest.encoding import (
    health_document,
    json_response,
    model_document,
    reload_document,
)
from serve_app.api.rest.idempotency import key_of
from serve_app.api.rest.parsing import parse_reload
from serve_app.api.services import Services
from serve_app.data_plane.status import Health


def add_model_endpoints(app: FastAPI, services: Services) -> None:
    """Add the endpoints for models and health."""

    @app.get("/api/ml/models", responses=schemas.responses(list[schemas.ModelEntry]))
    async def models() -> Response:
        """List every version behind this server."""
        return json_response([model_document(status) for status in services.status.models()])

    @app.post(
        "/api/ml/models/reload",
        responses=schemas.responses(schemas.ReloadResponse),
        openapi_extra=schemas.command_of(schemas.ReloadBody),
    )
    async def reload(request: Request) -> Response:
        """Load a version beside the others, then let the stages follow the registry."""
        parsed = parse_reload(await read_body(request))
        by = caller_of(request.scope).name
        result = await services.reloader.reload(
            parsed.model_name, parsed.version, by, key_of(request)
        )
        return json_response(reload_document(result))

    @app.get("/health", responses=schemas.responses(schemas.HealthResponse))
    @app.get("/api/ml/health", responses=schemas.responses(schemas.HealthResponse))
    async def health() -> Response:
        """Report the state of the server; 503 while default requests have no response."""
        report = services.status.health()
        status = 503 if report.health is Health.UNHEALTHY else 200
        return json_response(health_document(report), status)

    @app.get("/health/live", responses=schemas.responses(schemas.LivenessResponse))
    async def live() -> Response:
        """Respond, for a supervisor that restarts a server which does not."""
        return json_response({"status": "alive"})

    @app.get("/health/ready", responses=schemas.responses(schemas.ReadinessResponse))
    async def ready() -> Response:
        """Report whether default requests are served, for a load balancer; 503 if not."""
        is_ready = services.status.health().health is not Health.UNHEALTHY
        return json_response({"ready": is_ready}, 200 if is_ready else 503)
