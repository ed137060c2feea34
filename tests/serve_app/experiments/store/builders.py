"""Experiments, predictions and outcomes to store, and summaries computed anew from the rows."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import ExperimentDefinition, Mode
from serve_app.experiments.records import Outcome, PredictionRecord, Variant

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def definition(experiment_id="e1", model="m", **fields):
    return ExperimentDefinition(
        experiment_id=experiment_id,
        control_model_name=model,
        control_model_version="1.0.0",
        treatment_model_name=model,
        treatment_model_version="1.1.0",
        **fields,
    )


def mirror(experiment_id="e1"):
    return definition(experiment_id, mode=Mode.MIRROR)


def prediction(prediction_id, variant=Variant.CONTROL, after_s=0.0, **fields):
    known = {
        "experiment_id": None if variant is None else "e1",
        "model": "m",
        "version": "1.1.0" if variant is Variant.TREATMENT else "1.0.0",
        "symbol": "BTCUSDT",
        "latency_ms": 1.5,
        "direction": None if "error" in fields else 1,
        "confidence": None if "error" in fields else 0.75,
        "expected_return": None if "error" in fields else 0.002,
    }
    return PredictionRecord(
        prediction_id=prediction_id,
        variant=variant,
        time=START + timedelta(seconds=after_s),
        **{**known, **fields},
    )


def both_arms(prediction_id, after_s=0.0):
    control = prediction(prediction_id, Variant.CONTROL, after_s, mirrored=True)
    treatment = prediction(
        prediction_id, Variant.TREATMENT, after_s, mirrored=True, direction=2, latency_ms=2.25
    )
    return control, treatment


def outcome(prediction_id, market_return=0.01, after_s=60.0):
    return Outcome(
        prediction_id=prediction_id,
        market_return=market_return,
        time=START + timedelta(seconds=after_s),
    )


def recompute(store, experiment_id="e1"):
    """Return the blocks that the stored rows make, each row counted once."""
    experiment = store.experiment(experiment_id)
    clock = BlockClock.of(experiment.definition, experiment.started_at)
    dead_band = experiment.definition.dead_band
    blocks = {}
    requests = defaultdict(dict)
    for each in store.predictions(experiment_id):
        record = each.prediction
        number = clock.block(record.time)
        block = blocks.setdefault(number, Block(block=number))
        arm = block.control if record.variant is Variant.CONTROL else block.treatment
        arm.add_prediction(record)
        if each.outcome is not None:
            arm.add_outcome(record, each.outcome, dead_band)
        requests[record.prediction_id][record.variant] = each
    for arms in requests.values():
        if len(arms) == 2 and all(each.prediction.mirrored for each in arms.values()):
            control, treatment = (arms[variant].prediction for variant in Variant)
            pairs = blocks[clock.block(control.time)].pairs
            pairs.add_predictions(control, treatment)
            if arms[Variant.CONTROL].outcome is not None:
                pairs.add_outcome(control, treatment, arms[Variant.CONTROL].outcome, dead_band)
    return [blocks[number] for number in sorted(blocks)]


def assert_summaries_equal_rows(store, experiment_id="e1"):
    stored, anew = store.blocks(experiment_id), recompute(store, experiment_id)
    assert [each.block for each in stored] == [each.block for each in anew]
    for one, other in zip(stored, anew, strict=True):
        for part in ("control", "treatment", "pairs"):
            left, right = getattr(one, part).to_dict(), getattr(other, part).to_dict()
            assert left == {
                name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
                for name, value in right.items()
            }


def total(store, part, field, experiment_id="e1"):
    """Return a field of the summaries, summed over the blocks."""
    return sum(getattr(getattr(each, part), field) for each in store.blocks(experiment_id))
