"""The evidence of a small experiment, as a report takes it."""

from datetime import UTC, datetime, timedelta

from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.evidence import ExperimentEvidence
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.records import Outcome, PredictionRecord, Variant

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def evidence(ended, units=None):
    """Return the evidence of an experiment with one labelled prediction."""
    definition = ExperimentDefinition(
        experiment_id="a_b",
        control_model_name="m",
        control_model_version="1.0.0",
        treatment_model_name="m",
        treatment_model_version="1.1.0",
    )
    record = PredictionRecord(
        prediction_id="p",
        time=NOW,
        model="m",
        version="1.0.0",
        symbol="S",
        latency_ms=1.25,
        experiment_id="a_b",
        variant=Variant.CONTROL,
        treatment_share=0.1,
        direction=1,
    )
    block = Block(block=3, units=units)
    block.control.add_prediction(record)
    block.control.add_outcome(record, Outcome(prediction_id="p", market_return=0.1, time=NOW), 0.0)
    return ExperimentEvidence(
        StoredExperiment(
            definition=definition,
            status=ExperimentStatus.COMPLETED if ended else ExperimentStatus.RUNNING,
            started_at=NOW,
            ended_at=NOW + timedelta(hours=1) if ended else None,
            end_reason=EndReason.STOPPED if ended else None,
            final_report={"status": "completed"} if ended else None,
        ),
        [HistoryEntry(time=NOW, action="created", details={})],
        [block],
    )
