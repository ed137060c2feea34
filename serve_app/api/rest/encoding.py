"""Encodes responses of the core as JSON. Pure: no IO."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from features.times import iso
from serve_app.api.rest.errors import STATUS, error_value, headers_of
from serve_app.control_plane.experiment_service import OutcomeCounts
from serve_app.control_plane.reloads import ReloadResult
from serve_app.data_plane.decoding import Prediction, Probabilities
from serve_app.data_plane.live_results import LiveResult
from serve_app.data_plane.responses import BatchResponse, FailedItem, PredictionResponse
from serve_app.data_plane.status import HealthReport, ModelStatus
from serve_app.data_plane.timing import TimingSection
from serve_app.errors import ServingError
from serve_app.experiments.history import StoredExperiment


def json_response(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with `content` as its JSON body."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def error_response(error: ServingError, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response to a request that failed with an error, with additional `headers`."""
    fields = {**headers_of(error), **(headers or {})}
    return json_response({"error": error_value(error)}, STATUS[type(error)], fields)


def prediction_document(response: PredictionResponse) -> dict[str, Any]:
    """Return the body of the response to a request for one prediction."""
    prediction, version = response.prediction, response.version
    document: dict[str, Any] = {
        "symbol": response.symbol,
        "prediction": prediction_value(prediction),
        "model_name": version.model,
        "model_version": version.version,
        "variant": None if response.variant is None else response.variant.value,
        "prediction_id": response.prediction_id,
        "latency_ms": response.latency_ms,
        "timestamp": response.time,
    }
    if prediction.probabilities is not None:
        document["probabilities"] = probability_values(prediction.probabilities)
    window = response.window
    if window is not None:
        document["bar"], document["as_of"] = window.bar, iso(window.as_of_ms)
        document["age_s"] = window.age_s(response.time.timestamp() * 1e3)
    if response.fallback:
        document["fallback"] = True
    return document


def live_document(result: LiveResult) -> dict[str, Any]:
    """Return the data of an event of the stream of predictions by symbol.

    Raises:
        ServingError: the result has no prediction.
    """
    prediction = result.prediction()
    document: dict[str, Any] = {
        "symbol": result.symbol,
        "timeframe": result.timeframe,
        "bar": result.bar,
        "as_of": iso(result.as_of_ms),
        "model_name": result.version.model,
        "model_version": result.version.version,
        "prediction": prediction_value(prediction),
    }
    if prediction.probabilities is not None:
        document["probabilities"] = probability_values(prediction.probabilities)
    return document


def prediction_value(prediction: Prediction) -> dict[str, Any]:
    """Return the output of the model in a response."""
    value: dict[str, Any] = {
        "direction": prediction.direction,
        "confidence": prediction.confidence,
        "expected_return": prediction.expected_return,
    }
    if prediction.return_quantiles is not None:
        value["return_quantiles"] = prediction.return_quantiles
    return value


def probability_values(probabilities: Probabilities) -> dict[str, float]:
    """Return probabilities by the name of their direction."""
    return {"HOLD": probabilities.hold, "BUY": probabilities.buy, "SELL": probabilities.sell}


def timings_document(spent: Mapping[TimingSection, float]) -> dict[str, float]:
    """Return timing sections, given in seconds, as `{"read_ms": 0.1, …}`."""
    return {f"{section}_ms": took_s * 1e3 for section, took_s in spent.items()}


def batch_document(response: BatchResponse) -> dict[str, Any]:
    """Return the body of the response to a batch."""
    return {
        "predictions": [
            {"symbol": item.symbol, "error": error_value(item.error)}
            if isinstance(item, FailedItem)
            else prediction_document(item)
            for item in response.items
        ],
        "total_latency_ms": response.latency_ms,
        "succeeded": response.succeeded,
        "failed": response.failed,
    }


def model_document(status: ModelStatus) -> dict[str, Any]:
    """Return the entry of a version in the list of models."""
    metadata = status.metadata
    return {
        "name": metadata.name,
        "version": metadata.version,
        "stage": status.stage,
        "model_type": metadata.model_type,
        "metrics": metadata.metrics,
        "size_mb": metadata.model_size_mb,
        "loaded": status.loaded,
        "pending": status.pending,
        "problem": status.problem,
    }


def health_document(report: HealthReport) -> dict[str, Any]:
    """Return the body of the response to a health check."""
    return {
        "status": report.health,
        "timestamp": report.time,
        "loaded_models": [str(version) for version in report.loaded],
        "active_experiments": report.experiments,
        "uptime_seconds": report.uptime_s,
        # Without the reasons: the endpoint is public, and they name paths and addresses.
        "problems": list(report.problems),
    }


def reload_document(result: ReloadResult) -> dict[str, Any]:
    """Return the body of the response to a reload."""
    held = ", ".join(f"{stage} is {version}" for stage, version in result.stages.items())
    return {
        "status": "success",
        "message": f"{result.version} is loaded; {held or 'it holds no stage'}",
        "model_name": result.version.model,
        "version": result.version.version,
    }


def experiment_document(experiment: StoredExperiment) -> dict[str, Any]:
    """Return the entry of an experiment in the list of experiments."""
    definition = experiment.definition
    return {
        "experiment_id": definition.experiment_id,
        "status": experiment.status.value,
        "control": definition.control,
        "treatment": definition.treatment,
        "control_traffic": definition.control_traffic,
        "treatment_traffic": definition.treatment_traffic,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
        "end_reason": experiment.end_reason,
    }


def outcomes_document(counts: OutcomeCounts) -> dict[str, Any]:
    """Return the body of the response to a report of outcomes."""
    return {
        "accepted": counts.accepted,
        "duplicates": counts.duplicates,
        "unrecorded": counts.unrecorded,
        "unknown": counts.unknown,
        "conflicts": [
            {
                "prediction_id": conflict.outcome.prediction_id,
                "recorded": conflict.stored_return,
                "received": conflict.outcome.market_return,
            }
            for conflict in counts.conflicts
        ],
    }
