"""The analysis document has the fields of the contract for every experiment."""

import json
import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.records import Variant
from serve_app.experiments.summary import VariantSummary
from tests.serve_app.experiments.degenerate import DEGENERATE, FAILED, alternate, build
from tests.serve_app.experiments.factories import START, definition, outcome, prediction
from tests.serve_app.experiments.reported import running, simulate
from tests.serve_app.experiments.simulation import CLOCK, Experiments

VARIANT_FIELDS = {
    *("model", "samples", "labelled", "accuracy", "precision", "recall", "f1_score", "win_rate"),
    *("avg_return", "sharpe_ratio", "total_pnl", "avg_latency_ms", "p95_latency_ms"),
    *("error_rate", "throughput"),
}


def plain(document):
    """Return the document after its conversion to strict JSON, without NaN or infinity."""
    return json.loads(json.dumps(document, allow_nan=False))


@pytest.mark.parametrize("mode", [{}, {"mode": "mirror"}, {"assignment": "unit_id"}])
@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("at_planned_end", [False, True])
def test_degenerate_experiment_continues(name, mode, at_planned_end):
    """A degenerate experiment is analysed and continues, at the planned end too."""
    made = definition(control_traffic=0.5, treatment_traffic=0.5, **mode)
    found = analyse(made, CLOCK, build(DEGENERATE[name]), at_planned_end=at_planned_end)
    document = plain(found.document)
    assert set(document["treatment"]) >= VARIANT_FIELDS
    assert document["recommendation"]["action"] == "continue"
    assert document["recommendation"]["reasons"]
    assert not document["statistical_significance"]["significant"]


def test_degenerate_switchback_continues():
    """A degenerate switchback is analysed and continues."""
    made = definition(assignment="switchback", switchback_block_s=60)
    for rows in DEGENERATE.values():
        clock = BlockClock.of(made, START)
        found = analyse(made, clock, build(rows, clock))
        assert plain(found.document)["recommendation"]["action"] == "continue"


def test_document_fields():
    """The document has the fields of the contract."""
    document = analyse(definition(), CLOCK, build(alternate(8))).document
    assert {"experiment_id", "status", "duration_hours", "control", "treatment"} <= set(document)
    assert set(document["control"]) >= VARIANT_FIELDS
    assert document["control"]["model"] == "toy:1.0.0"
    assert set(document["improvement"]) >= {"accuracy", "sharpe_ratio", "latency_ms", "error_rate"}
    significance = {"test", "significant", "p_value", "confidence_level", "interval"}
    assert set(document["statistical_significance"]) >= significance
    assert set(document["sample_ratio"]) >= {"expected", "observed", "p_value", "healthy"}
    assert set(document["recommendation"]) == {"action", "reasons"}


def test_one_error_in_a_thousand_continues():
    """One error in a thousand predictions is no reason for a rollback."""
    rows = alternate(2000)
    rows[777] = (rows[777][0], Variant.TREATMENT, None, None, {"treatment_share": 0.5, **FAILED})
    found = analyse(definition(control_traffic=0.5, treatment_traffic=0.5), CLOCK, build(rows))
    assert found.document["treatment"]["error_rate"] == 0.001
    assert found.recommendation.action == "continue"
    assert found.evidence.errors.harm_p_value > 0.5


def test_one_burst_of_errors_continues():
    """One burst of errors is no reason for a rollback."""
    rows = alternate(8000)
    for number in range(4001, 4021, 2):
        failed = {"treatment_share": 0.5, **FAILED}
        rows[number] = (rows[number][0], Variant.TREATMENT, None, None, failed)
    found = analyse(definition(control_traffic=0.5, treatment_traffic=0.5), CLOCK, build(rows))
    assert found.document["treatment"]["error_rate"] == 0.0025
    assert found.recommendation.action == "continue"


def test_failing_treatment_rolls_back():
    """A treatment that always fails is rolled back within seconds."""
    rows = [
        (second, variant, None if variant is Variant.TREATMENT else direction, None, changes)
        for second, variant, direction, _, changes in alternate(160)
    ]
    rows = [
        (*row[:4], {**row[4], **(FAILED if row[1] is Variant.TREATMENT else {})}) for row in rows
    ]
    found = analyse(definition(control_traffic=0.5, treatment_traffic=0.5), CLOCK, build(rows))
    assert found.recommendation.action == "rollback"


def test_mismatch_blocks_verdict():
    """A sample ratio mismatch blocks a verdict that the accuracy would allow."""
    experiments = Experiments(1, 1, 4000, effect=0.2, share=0.5)
    blocks = experiments.summaries(0, 4000)
    fair = definition(control_traffic=0.5, treatment_traffic=0.5)
    assert analyse(fair, CLOCK, blocks).recommendation.action == "promote"
    blocked = analyse(definition(), CLOCK, blocks)
    assert blocked.recommendation.action == "continue"
    assert blocked.recommendation.reasons[0].startswith("No verdict: treatment has")
    assert not blocked.document["sample_ratio"]["healthy"]


def test_growing_share_is_unbiased():
    """A growing share is no mismatch and does not bias the difference (Simpson's paradox).

    Both variants are correct in 70 % of the first half and 30 % of the second, and treatment's
    share grows in between.
    """
    generator = np.random.default_rng(2)
    rows = []
    for number in range(8000):
        share, right = (0.05, 0.7) if number < 4000 else (0.5, 0.3)
        variant = Variant.TREATMENT if generator.random() < share else Variant.CONTROL
        move = 0.001 if generator.random() < right else -0.001
        rows.append((number / 4, variant, 1, move, {"treatment_share": share}))
    found = analyse(definition(), CLOCK, build(rows))
    assert found.document["sample_ratio"]["healthy"]
    assert found.document["improvement"]["accuracy"] < -0.1
    assert abs(found.evidence.accuracy.difference) < 0.04
    assert found.recommendation.action == "continue"


def test_order_of_blocks():
    """The result does not depend on the order of the blocks."""
    blocks = Experiments(3, 1, 3000, effect=0.1).summaries(0, 3000)
    shuffled = [blocks[number] for number in np.random.default_rng(3).permutation(len(blocks))]
    first, second = (analyse(definition(), CLOCK, parts).evidence for parts in (blocks, shuffled))
    assert first.accuracy == second.accuracy
    assert first.errors == second.errors
    assert first.latency.worst_case == pytest.approx(second.latency.worst_case)


def test_large_counts():
    """Ten million predictions with extreme values do not overflow."""
    share = 2_500_000
    variant = VariantSummary(
        predictions=10_000_000 + 7,
        errors=7,
        latency_sum=1e9 * 1e7,
        latency_square_sum=1e18 * 1e7,
        latency_bins={1300: 10_000_000},
        first_s=0.0,
        last_s=1e7,
        confusion=[share, 0, 0, 0, share, share, 0, 0, share],
        return_sum=1e3 * 1e7,
        return_square_sum=1e6 * 1e7,
    )
    blocks = [Block(block=number, control=variant, treatment=variant) for number in range(50)]
    document = plain(analyse(definition(), CLOCK, blocks).document)
    assert document["control"]["accuracy"] == pytest.approx(0.75)
    assert math.isfinite(document["control"]["total_pnl"])


def test_horizon_determines_blocks():
    """A longer stated horizon leads to longer blocks, and the assumptions state its origin."""
    blocks = Experiments(4, 1, 3000).summaries(0, 3000)
    for horizon_s, block_s in ((None, 16), (20, 32), (100, 128), (600, 1024)):
        made = definition(horizon_s=horizon_s)
        significance = analyse(made, CLOCK, blocks).document["statistical_significance"]
        assert significance["block_s"] == block_s
        assert ("not stated" in significance["assumptions"]) == (horizon_s is None)


def test_mirrored_pairs():
    """Mirrored requests are compared pair by pair, which detects smaller differences.

    The two models agree on 90 % of the requests.
    """
    generator = np.random.default_rng(5)
    blocks, split = {}, {}
    for number in range(3000):
        second = number / 4
        move = 0.001 if generator.random() < 0.5 else -0.001
        right = generator.random() < 0.5
        better = right or generator.random() < 0.1
        pair = [
            prediction(
                second,
                variant=variant,
                mirrored=True,
                treatment_share=None,
                direction=1 if hit == (move > 0) else 2,
            )
            for variant, hit in ((Variant.CONTROL, right), (Variant.TREATMENT, better))
        ]
        for target in (blocks, split):
            key = CLOCK.block(START + timedelta(seconds=second))
            block = target.setdefault(key, Block(block=key))
            for summary, record in zip((block.control, block.treatment), pair, strict=True):
                summary.add_prediction(record)
                summary.add_outcome(record, outcome(move, second + 1), dead_band=0.0)
            if target is blocks:
                block.pairs.add_predictions(*pair)
                block.pairs.add_outcome(*pair, outcome(move, second + 1), dead_band=0.0)
    mirrored = analyse(definition(mode="mirror"), CLOCK, list(blocks.values()))
    assert mirrored.recommendation.action == "promote"
    assert mirrored.evidence.accuracy.standard_error < 0.006
    assert mirrored.document["returns"]["sharpe_difference"]["jobson_korkie_memmel"]["z"] > 5


def test_planned_end_is_more_powerful():
    """The analysis at the planned end has a smaller p-value and a narrower interval."""
    blocks = Experiments(9, 1, 4000, effect=0.05).summaries(0, 4000)
    made = definition(control_traffic=0.5, treatment_traffic=0.5)
    interim, final = (
        analyse(made, CLOCK, blocks, at_planned_end=end).evidence.accuracy for end in (False, True)
    )
    assert final.p_value < interim.p_value
    assert final.interval[0] > interim.interval[0]
    assert final.interval[1] < interim.interval[1]


@pytest.mark.parametrize(("accuracy", "action"), [(0.65, "promote"), (0.5, "continue")])
def test_switchback(accuracy, action):
    """A switchback compares blocks with one variant each."""
    made = definition(
        assignment="switchback",
        switchback_block_s=60,
        horizon_s=30,
        control_traffic=0.5,
        treatment_traffic=0.5,
    )
    clock = BlockClock.of(made, START)
    generator = np.random.default_rng(6)
    blocks = []
    for number in range(200):
        treated = generator.random() < 0.5
        right = int(generator.binomial(60, accuracy if treated else 0.5))
        variant = VariantSummary(
            predictions=60,
            assigned=60,
            share_sum=30.0,
            share_variance_sum=15.0,
            latency_sum=120.0,
            latency_square_sum=250.0,
            latency_bins={380: 60},
            first_s=clock.start_s(number),
            last_s=clock.end_s(number) - 1,
            confusion=[0, 0, 0, 0, right, 60 - right, 0, 0, 0],
        )
        block = Block(block=number)
        blocks.append(block)
        if treated:
            block.treatment = variant
        else:
            block.control = variant
    found = analyse(made, clock, blocks)
    assert found.recommendation.action == action
    assert found.document["statistical_significance"]["block_s"] == 60
    assert "by block of time" in found.document["sample_ratio"]["explanation"]


def test_tiny_improvement_keeps_power():
    """A tiny required improvement does not make the test insensitive to large differences."""
    blocks = Experiments(11, 1, 4000, effect=0.15).summaries(0, 4000)
    for improvement in (0.0, 1e-9, 0.02):
        made = definition(
            control_traffic=0.5, treatment_traffic=0.5, min_accuracy_improvement=improvement
        )
        assert analyse(made, CLOCK, blocks).recommendation.action == "promote"


def by_bot(seed, *, accuracy=(0.5, 0.5), bots=60, **changes):
    """Return the analysis of an experiment that assigns bots."""
    experiment = running(assignment="unit_id", **changes)
    blocks = simulate(experiment, seed, 6000, accuracy=accuracy, bots=bots)
    return analyse(experiment.definition, experiment.clock, blocks)


def test_by_unit_promotes():
    """By unit a better treatment is promoted, and the document reports the units."""
    found = by_bot(3, accuracy=(0.5, 0.75))
    document = plain(found.document)
    assert document["recommendation"]["action"] == "promote"
    assert document["statistical_significance"]["interval"][0] > 0
    assert "over bots and blocks of time" in document["statistical_significance"]["test"]
    assert document["sample_ratio"]["counted"] == "bots"
    units = document["units"]
    assert (units["served"], units["needed"]) == ("bots", 5)
    assert units["outcomes_each"]["healthy"]
    assert units["outcomes_each"]["control"] == pytest.approx(
        document["control"]["labelled"] / units["control"]["seen"]
    )
    assert units["control"]["seen"] + units["treatment"]["seen"] == 60
    assert units["control"]["labelled"] == units["control"]["seen"]
    assert units["control"]["effective"] == pytest.approx(units["control"]["seen"], rel=0.1)


def test_by_unit_fixed_horizon_tests():
    """By unit the fixed-horizon tests are over units."""
    fixed = by_bot(3, accuracy=(0.5, 0.75)).document["statistical_significance"]["fixed_horizon"]
    assert (fixed["accuracy_two_proportion"], fixed["avg_return_welch"]) == (None, None)
    assert "not part of the verdict" in fixed["valid"]
    assert fixed["accuracy_by_unit"]["p_value"] < 0.001
    low, high = fixed["accuracy_by_unit"]["interval"]
    assert low < fixed["accuracy_by_unit"]["difference"] < high


def test_fixed_horizon_fields():
    """The fixed-horizon tests have the same fields for every assignment."""
    by_request = analyse(definition(), CLOCK, build(alternate(8))).document
    fixed = [
        document["statistical_significance"]["fixed_horizon"]
        for document in (by_request, by_bot(3).document)
    ]
    assert list(fixed[0]) == list(fixed[1])
    assert (fixed[0]["accuracy_by_unit"], fixed[0]["avg_return_by_unit"]) == (None, None)


def test_by_unit_planned_end_adds_nothing():
    """By unit the planned end does not change the test."""
    experiment = running(assignment="unit_id")
    blocks = simulate(experiment, 3, 6000, accuracy=(0.5, 0.6), bots=60)
    before, end = (
        analyse(experiment.definition, experiment.clock, blocks, at_planned_end=end)
        for end in (False, True)
    )
    assert end.evidence.accuracy == replace(before.evidence.accuracy, at_planned_end=True)
    assert 0 < end.evidence.accuracy.p_value < 1


def test_by_unit_rolls_back():
    """By unit a worse treatment is rolled back."""
    found = by_bot(4, accuracy=(0.65, 0.45))
    assert found.recommendation.action == "rollback"


def test_by_unit_sharpe_ratio():
    """By unit Sharpe ratios are compared between units."""
    found = by_bot(3, accuracy=(0.5, 0.75)).document["returns"]["sharpe_difference"]
    assert found["test"].endswith("standard error over bots")
    assert found["difference"] > 0


def test_by_unit_too_few_continue():
    """With few units the experiment continues for any difference."""
    found = by_bot(3, accuracy=(0.2, 0.9), bots=6)
    assert found.recommendation.action == "continue"
    assert found.recommendation.reasons[0].startswith("Too few bots")
    assert found.document["statistical_significance"]["interval"] is None


def test_by_request_has_no_units():
    """By request the document has no units."""
    assert analyse(definition(), CLOCK, build(alternate(8))).document["units"] is None
