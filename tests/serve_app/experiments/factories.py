"""Definitions, predictions and outcomes for the tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.records import Outcome, PredictionRecord, Variant

START = datetime(2026, 1, 5, tzinfo=UTC)


def definition(**changes: Any) -> ExperimentDefinition:
    fields = {
        "experiment_id": "v1_vs_v2",
        "control_model_name": "toy",
        "control_model_version": "1.0.0",
        "treatment_model_name": "toy",
        "treatment_model_version": "1.1.0",
        **changes,
    }
    return ExperimentDefinition.model_validate(fields)


def prediction(seconds: float = 0.0, **changes: Any) -> PredictionRecord:
    fields = {
        "prediction_id": f"p{seconds}",
        "time": START + timedelta(seconds=seconds),
        "experiment_id": "v1_vs_v2",
        "variant": Variant.CONTROL,
        "treatment_share": 0.125,
        "model": "toy",
        "version": "1.0.0",
        "symbol": "EURUSD",
        "direction": None if "error" in changes else 1,
        "latency_ms": 2.0,
        **changes,
    }
    return PredictionRecord(**fields)


def outcome(market_return: float, seconds: float = 60.0) -> Outcome:
    return Outcome(
        prediction_id="p", market_return=market_return, time=START + timedelta(seconds=seconds)
    )
