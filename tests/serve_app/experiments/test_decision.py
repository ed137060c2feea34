"""The verdict follows from the evidence, and says why with the numbers."""

from dataclasses import replace

import pytest

from serve_app.experiments.decision import Action, Evidence, UnitCount, decide
from serve_app.experiments.exposure import Stage, next_share
from serve_app.experiments.guardrails import Comparison, Guardrail
from serve_app.experiments.outcome_ratio import OutcomeRatio
from serve_app.experiments.records import Variant
from serve_app.experiments.sample_ratio import SampleRatio
from serve_app.experiments.significance import Significance
from tests.serve_app.experiments.factories import definition

RATIO = SampleRatio(
    control=9000,
    treatment=1000,
    expected_share=0.1,
    p_value=1.0,
    always_valid_p_value=1.0,
    healthy=True,
    explanation="by request",
)
BETTER = Significance(
    difference=0.04,
    standard_error=0.008,
    interval=(0.01, 0.07),
    p_value=0.001,
    alpha=0.05,
    significant=True,
    at_planned_end=False,
)
FAST = Guardrail(
    name="latency_ms",
    control=2.0,
    treatment=2.5,
    limit=2.0,
    harm_p_value=1.0,
    shown_by=Comparison(control=2.0, treatment=2.5, difference=0.4),
    worst_case=0.9,
    held=True,
    looks_fine=True,
)
SOUND = Guardrail(
    name="error_rate",
    control=0.001,
    treatment=0.001,
    limit=1.5,
    harm_p_value=1.0,
    shown_by=Comparison(control=0.001, treatment=0.001, difference=0.0),
    worst_case=0.004,
    held=True,
    looks_fine=True,
)
GOOD = Evidence(
    control_labelled=9000,
    treatment_labelled=1000,
    sample_ratio=RATIO,
    accuracy=BETTER,
    latency=FAST,
    errors=SOUND,
)
WORSE = replace(BETTER, difference=-0.08, interval=(-0.12, -0.04))
CHANCE = replace(BETTER, interval=(-0.01, 0.09), p_value=0.3, significant=False)


def test_a_promotion_says_what_was_shown():
    recommendation = decide(definition(), GOOD)
    assert recommendation.action is Action.PROMOTE
    assert recommendation.reasons == (
        "Accuracy is 4.00% higher, at least the 2.00% asked for.",
        "That is more than chance: the true difference lies between +1.00% and +7.00%, p = 0.001.",
        "Latency: at worst +0.90 ms against control, within the 2.00 ms allowed.",
        "Errors: at worst +0.40% against control, within the 1.00% allowed.",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"accuracy": replace(BETTER, difference=0.015)},
            "Accuracy is 1.50% higher; a promotion asks for 2.00% more.",
        ),
        ({"accuracy": CHANCE}, "That may be chance"),
        ({"accuracy": replace(CHANCE, interval=None)}, "cannot be said yet"),
        ({"accuracy": replace(WORSE, difference=-0.04)}, "Treatment is worse"),
        ({"latency": replace(FAST, held=False)}, "not shown yet that treatment is less than 2.00"),
        (
            {"errors": replace(SOUND, held=False, worst_case=float("inf"))},
            "less than 1.00% above control's.",
        ),
        (
            {"treatment_labelled": 99},
            "control has 9,000 and treatment 99; each needs 100.",
        ),
    ],
)
def test_without_one_of_its_conditions_the_experiment_goes_on(changes, reason):
    recommendation = decide(definition(), replace(GOOD, **changes))
    assert recommendation.action is Action.CONTINUE
    assert reason in " ".join(recommendation.reasons)


LOST = OutcomeRatio(control=40.0, treatment=28.0, always_valid_p_value=1e-6)


@pytest.mark.parametrize("accuracy", [BETTER, WORSE])
def test_where_one_variants_bots_lack_outcomes_there_is_no_verdict_on_accuracy(accuracy):
    evidence = replace(GOOD, accuracy=accuracy, outcomes=LOST)
    recommendation = decide(definition(assignment="unit_id"), evidence)
    assert recommendation.action is Action.CONTINUE
    assert recommendation.reasons == (
        "No verdict on accuracy: control's bots have 40.0 outcomes each on average and treatment's "
        "28.0 (p below 0.0001). Single requests or outcomes are lost, or a version makes its bots "
        "ask more or less; find out which.",
    )


def test_a_treatment_that_fails_is_rolled_back_though_its_bots_lack_outcomes():
    evidence = replace(GOOD, errors=replace(SOUND, harm_p_value=1e-4, held=False), outcomes=LOST)
    made = definition(assignment="unit_id")
    assert decide(made, evidence).action is Action.ROLLBACK


def test_a_difference_of_just_what_is_asked_for_is_enough():
    accuracy = replace(BETTER, difference=0.35 - 0.33)
    assert accuracy.difference < 0.02
    assert decide(definition(), replace(GOOD, accuracy=accuracy)).action is Action.PROMOTE


def test_a_drop_of_just_what_is_allowed_is_no_harm():
    accuracy = replace(WORSE, difference=0.5 - 0.55)
    assert accuracy.difference < -0.05
    recommendation = decide(definition(), replace(GOOD, accuracy=accuracy))
    assert recommendation.action is Action.CONTINUE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {
                "latency": replace(
                    FAST,
                    harm_p_value=1e-4,
                    held=False,
                    shown_by=Comparison(control=2.0, treatment=9.0, difference=6.5),
                )
            },
            "too slow: 9.00 ms on average against 2.00 ms, and 6.50 ms more at the same times; "
            "shown to be more than 2.00 ms slower",
        ),
        (
            {
                "errors": replace(
                    SOUND,
                    harm_p_value=1e-4,
                    held=False,
                    shown_by=Comparison(
                        control=0.001, treatment=0.05, difference=0.04, recent=True
                    ),
                )
            },
            "fails too often during the last minute: 5.00% of its predictions against 0.10%, and "
            "4.00% more at the same times; shown to be more than 1.5",
        ),
        ({"accuracy": WORSE}, "accuracy is lower by 8.00%, more than the allowed 5.00%"),
    ],
)
def test_a_harm_that_is_shown_leads_to_a_rollback(changes, reason):
    recommendation = decide(definition(), replace(GOOD, **changes))
    assert recommendation.action is Action.ROLLBACK
    assert reason in " ".join(recommendation.reasons)


def test_harm_to_traffic_needs_no_labels():
    evidence = replace(GOOD, treatment_labelled=0, errors=replace(SOUND, harm_p_value=1e-6))
    assert decide(definition(), evidence).action is Action.ROLLBACK


def test_a_harm_is_judged_after_correction_for_three():
    harmed = replace(GOOD, latency=replace(FAST, harm_p_value=0.0084))
    assert decide(definition(), harmed).action is not Action.ROLLBACK
    harmed = replace(GOOD, latency=replace(FAST, harm_p_value=0.0083))
    assert decide(definition(), harmed).action is Action.ROLLBACK


def test_a_sample_ratio_mismatch_blocks_every_verdict_and_says_why():
    broken = replace(RATIO, treatment=2000, always_valid_p_value=1e-9, healthy=False)
    for evidence in (GOOD, replace(GOOD, accuracy=WORSE)):
        recommendation = decide(definition(), replace(evidence, sample_ratio=broken))
        assert recommendation.action is Action.CONTINUE
        assert recommendation.reasons == (
            "No verdict: treatment has 2,000 of 11,000 predictions, 18.18%, where 10.00% were "
            "intended (p below 0.0001). Requests are lost or misdirected; no number here can be "
            "trusted until that is found.",
        )


def test_a_planned_end_without_verdict_leaves_control():
    evidence = replace(GOOD, accuracy=replace(CHANCE, at_planned_end=True))
    assert "control stays" in decide(definition(), evidence).reasons[-1]


STAGED = definition(
    control_traffic=0.5, treatment_traffic=0.5, exposure_stages=(0.01, 0.05, 0.1, 0.25, 0.5)
)
STAGE = Stage(share=0.05, age_s=3600, treatment_predictions=100)


def advance(stage=STAGE, evidence=GOOD, *, breaker_closed=True):
    recommendation = decide(STAGED, evidence)
    return next_share(STAGED, stage, evidence, recommendation, breaker_closed=breaker_closed)


def test_the_next_stage_begins_while_the_guardrails_hold():
    assert advance() == 0.1
    assert advance(replace(STAGE, share=0.25)) == 0.5
    assert advance(replace(STAGE, share=0.5)) == 0.5
    assert next_share(definition(), STAGE, GOOD, decide(STAGED, GOOD), breaker_closed=True) == 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": replace(STAGE, age_s=3599)},
        {"stage": replace(STAGE, treatment_predictions=99)},
        {"evidence": replace(GOOD, latency=replace(FAST, looks_fine=False))},
        {"evidence": replace(GOOD, errors=replace(SOUND, looks_fine=False))},
        {"evidence": replace(GOOD, sample_ratio=replace(RATIO, healthy=False))},
        {"evidence": replace(GOOD, accuracy=WORSE)},
        {"breaker_closed": False},
    ],
)
def test_a_stage_lasts_while_anything_speaks_against_the_next(changes):
    assert advance(**changes) == 0.05


MANY = UnitCount(seen=40, labelled=38, effective=20.5)
FEW = UnitCount(seen=9, labelled=7, effective=3.24)


@pytest.mark.parametrize(("assignment", "served"), [("unit_id", "bots"), ("symbol", "symbols")])
def test_too_few_units_are_told_with_their_number_and_how_many_are_needed(assignment, served):
    evidence = replace(GOOD, units={Variant.CONTROL: MANY, Variant.TREATMENT: FEW})
    told = decide(definition(assignment=assignment), evidence)
    assert told.action is Action.CONTINUE
    (reason,) = told.reasons
    assert reason.startswith(
        f"Too few {served}: control has 38 with an outcome, worth 20.5 equally "
    )
    assert "treatment has 7 with an outcome, worth 3.2 equally busy ones" in reason
    assert "each needs 5" in reason


def test_with_units_enough_the_verdict_is_that_of_any_experiment():
    evidence = replace(GOOD, units=dict.fromkeys(Variant, MANY))
    assert decide(definition(assignment="unit_id"), evidence).action is Action.PROMOTE
    worse = replace(evidence, accuracy=replace(WORSE, difference=-0.2))
    assert decide(definition(assignment="unit_id"), worse).action is Action.ROLLBACK


def test_harm_to_traffic_is_shown_without_waiting_for_units():
    failing = replace(
        GOOD,
        units=dict.fromkeys(Variant, FEW),
        errors=replace(SOUND, harm_p_value=1e-9, held=False),
    )
    told = decide(definition(assignment="unit_id"), failing)
    assert told.action is Action.ROLLBACK
    assert "not between bots: see whether a few of these are behind it" in told.reasons[1]
    assert len(decide(definition(), failing).reasons) == 1


def test_a_mismatch_of_units_says_what_was_counted():
    ratio = replace(RATIO, healthy=False, control=30, treatment=70, counted="bots")
    (reason,) = decide(definition(assignment="unit_id"), replace(GOOD, sample_ratio=ratio)).reasons
    assert "treatment has 70 of 100 bots" in reason
