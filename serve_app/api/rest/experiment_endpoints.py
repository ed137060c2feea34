"""The endpoints for experiments and outcomes."""

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.rest import schemas
from serve_app.api.rest.access import caller_of
from serve_app.api.rest.bodies import read_body
from serve_app.api.rest.encoding import experiment_document, json_response, outcomes_document
from serve_app.api.rest.experiment_parsing import check_id, read_definition, read_outcomes
from serve_app.api.rest.idempotency import key_of
from serve_app.api.rest.slices import TimeSlices
from serve_app.api.services import Services
from serve_app.experiments.definition import ExperimentDefinition


def add_experiment_endpoints(app: FastAPI, services: Services, slices: TimeSlices) -> None:
    """Add the endpoints for experiments and outcomes."""

    @app.post(
        "/api/ml/ab-test/create",
        responses=schemas.responses(schemas.ExperimentCreated),
        openapi_extra=schemas.command_of(ExperimentDefinition),
    )
    async def create(request: Request) -> Response:
        """Load both variants and split the model's traffic between them."""
        definition = read_definition(await read_body(request))
        by = caller_of(request.scope).name
        await services.experiments.create(definition, by, key_of(request))
        return json_response({"status": "success", "experiment_id": definition.experiment_id})

    @app.get("/api/ml/ab-test", responses=schemas.responses(list[schemas.ExperimentEntry]))
    async def list_all() -> Response:
        """List every experiment, the oldest first."""
        return json_response(
            [experiment_document(e) for e in await services.experiments.experiments()]
        )

    @app.get("/api/ml/ab-test/{experiment_id}/analyze", responses=schemas.responses(dict[str, Any]))
    async def analyse(experiment_id: str) -> Response:
        """Analyse an experiment as of now; frequent analyses do not bias its verdict."""
        return json_response(await services.experiments.analyse(check_id(experiment_id)))

    @app.get(
        "/api/ml/ab-test/{experiment_id}/evidence", responses=schemas.responses(dict[str, Any])
    )
    async def evidence(experiment_id: str) -> Response:
        """Return the content of a report: definition, summaries by block of time, history."""
        found = await services.experiments.evidence(check_id(experiment_id))
        return json_response(found.to_document())

    @app.post("/api/ml/ab-test/{experiment_id}/stop", responses=schemas.responses(dict[str, Any]))
    async def stop(experiment_id: str, request: Request) -> Response:
        """End an experiment and return its final analysis."""
        by = caller_of(request.scope).name
        return json_response(await services.experiments.stop(check_id(experiment_id), by))

    @app.post(
        "/api/ml/outcomes",
        responses=schemas.responses(schemas.OutcomesResponse),
        openapi_extra=schemas.body_of(schemas.OutcomeBody),
    )
    async def outcomes(request: Request) -> Response:
        """Record the market's return after one prediction, or after several."""
        body = await read_body(request)
        parsed = await slices.run(read_outcomes(body, datetime.now(UTC)))
        if parsed.is_list:
            counts = await services.experiments.record(parsed.outcomes)
        else:
            counts = await services.experiments.record_one(parsed.outcomes[0])
        return json_response(outcomes_document(counts))
