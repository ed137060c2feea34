"""Experiments, predictions and outcomes to store, and summaries recomputed from the rows."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import ExperimentDefinition, Mode
from serve_app.experiments.records import Outcome, PredictionRecord, Variant
from serve_app.experiments.statistics.unit_moments import SIZE
from serve_app.experiments.units import UnitTotals, measure, overlap_weight, slice_of

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


def both_variants(prediction_id, after_s=0.0):
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
    """Return the blocks that result from counting each stored row once."""
    experiment = store.experiment(experiment_id)
    clock = BlockClock.of(experiment.definition, experiment.started_at)
    dead_band = experiment.definition.dead_band
    blocks = {}
    requests = defaultdict(dict)
    for labelled in store.predictions(experiment_id):
        record = labelled.prediction
        number = clock.block(record.time)
        block = blocks.setdefault(number, Block(block=number))
        summary = block.control if record.variant is Variant.CONTROL else block.treatment
        summary.add_prediction(record)
        if labelled.outcome is not None:
            summary.add_outcome(record, labelled.outcome, dead_band)
        requests[record.prediction_id][record.variant] = labelled
    for variants in requests.values():
        if len(variants) == 2 and all(
            labelled.prediction.mirrored for labelled in variants.values()
        ):
            control, treatment = (variants[variant].prediction for variant in Variant)
            pairs = blocks[clock.block(control.time)].pairs
            pairs.add_predictions(control, treatment)
            if variants[Variant.CONTROL].outcome is not None:
                pairs.add_outcome(control, treatment, variants[Variant.CONTROL].outcome, dead_band)
    return [blocks[number] for number in sorted(blocks)]


def assert_summaries_equal_rows(store, experiment_id="e1"):
    stored, recomputed = store.blocks(experiment_id), recompute(store, experiment_id)
    assert [block.block for block in stored] == [block.block for block in recomputed]
    for found, expected in zip(stored, recomputed, strict=True):
        for part in ("control", "treatment", "pairs"):
            left, right = getattr(found, part).to_dict(), getattr(expected, part).to_dict()
            assert left == {
                name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
                for name, value in right.items()
            }


def newest_units(store, experiment_id="e1"):
    """Return the newest totals of an experiment's units."""
    known = [block.units for block in store.blocks(experiment_id) if block.units is not None]
    return known[-1] if known else UnitTotals()


def recompute_units(store, experiment_id="e1"):
    """Return the totals that result from counting each stored row once."""
    made = store.experiment(experiment_id).definition
    totals, seen = UnitTotals(), defaultdict(lambda: defaultdict(list))
    for number, labelled in enumerate(store.predictions(experiment_id)):
        record = labelled.prediction
        unit = record.symbol if made.assignment == "symbol" else record.unit_id
        seen[number if unit is None else unit][record.variant].append(labelled)
    for variants in seen.values():
        added, squares = np.zeros(SIZE), np.zeros((SIZE, SIZE))
        for variant, predictions in variants.items():
            totals.see(variant, predictions[0].prediction.treatment_share, first=True)
            for labelled in predictions:
                record = labelled.prediction
                if labelled.outcome is None or record.direction is None:
                    continue
                share = record.treatment_share
                weight = overlap_weight(variant, share, made.treatment_traffic)
                one = np.zeros(SIZE)
                one[slice_of(variant)] = weight * measure(record, labelled.outcome, made.dead_band)
                added += one
                squares += np.outer(one, one)
        totals.label(np.zeros(SIZE), added, squares)
    return totals


def assert_units_equal_rows(store, experiment_id="e1", *, first_seen=True):
    """The units' totals are what the rows add up to.

    Where variants changed, but for the first seen.
    """
    stored, recomputed = newest_units(store, experiment_id), recompute_units(store, experiment_id)
    assert (stored.seen, stored.labelled) == (recomputed.seen, recomputed.labelled)
    if first_seen:
        assert stored.first_seen == recomputed.first_seen
    for name in ("sums", "products", "independent"):
        left, right = getattr(stored, name), getattr(recomputed, name)
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-15)


def total(store, part, field, experiment_id="e1"):
    """Return a field of the summaries, summed over the blocks."""
    return sum(getattr(getattr(block, part), field) for block in store.blocks(experiment_id))
