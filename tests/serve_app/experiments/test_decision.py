"""The recommendation follows from the evidence, and its reasons state the numbers."""

from dataclasses import replace

import pytest

from serve_app.experiments.decision import Action, UnitCount, decide
from serve_app.experiments.guardrails import Comparison
from serve_app.experiments.outcome_ratio import OutcomeRatio
from serve_app.experiments.records import Variant
from tests.serve_app.experiments.decision_evidence import (
    BETTER,
    FAST,
    GOOD,
    RATIO,
    SOUND,
    UNCERTAIN,
    WORSE,
)
from tests.serve_app.experiments.factories import definition


def test_promotion_states_its_evidence():
    """The reasons of a promotion state every condition with its numbers."""
    recommendation = decide(definition(), GOOD)
    assert recommendation.action is Action.PROMOTE
    assert recommendation.reasons == (
        "Accuracy is 4.00 percentage points higher; a promotion requires 2.00.",
        "The difference is significant: the true difference lies between +1.00 and +7.00 "
        "percentage points (p = 0.001).",
        "Latency is within its limit: at worst +0.90 ms compared to control, and 2.00 ms are "
        "allowed.",
        "The error rate is within its limit: at worst +0.40 percentage points compared to control, "
        "and 1.00 are allowed.",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"accuracy": replace(BETTER, difference=0.015)},
            "Accuracy is only 1.50 percentage points higher; a promotion requires 2.00.",
        ),
        ({"accuracy": UNCERTAIN}, "The difference is not significant"),
        ({"accuracy": replace(UNCERTAIN, interval=None)}, "is not known yet"),
        ({"accuracy": replace(WORSE, difference=-0.04)}, "Treatment is significantly worse"),
        (
            {"latency": replace(FAST, held=False)},
            "not certain yet that treatment is less than 2.00",
        ),
        (
            {"errors": replace(SOUND, held=False, worst_case=float("inf"))},
            "less than 1.00 percentage points above control's.",
        ),
        (
            {"treatment_labelled": 99},
            "control has 9,000 and treatment 99; each variant needs 100.",
        ),
    ],
)
def test_missing_condition_continues(changes, reason):
    """Without any one of its conditions there is no promotion, and the reasons say why."""
    recommendation = decide(definition(), replace(GOOD, **changes))
    assert recommendation.action is Action.CONTINUE
    assert reason in " ".join(recommendation.reasons)


LOST = OutcomeRatio(control=40.0, treatment=28.0, always_valid_p_value=1e-6)


@pytest.mark.parametrize("accuracy", [BETTER, WORSE])
def test_missing_outcomes_block_accuracy(accuracy):
    """If the bots of one variant lack outcomes, accuracy has no verdict."""
    evidence = replace(GOOD, accuracy=accuracy, outcomes=LOST)
    recommendation = decide(definition(assignment="unit_id"), evidence)
    assert recommendation.action is Action.CONTINUE
    assert recommendation.reasons == (
        "No verdict on accuracy: control's bots have 40.0 outcomes each on average and treatment's "
        "28.0 (p below 0.0001). Single requests or outcomes are lost, or a version makes its bots "
        "send more or fewer requests; find the cause first.",
    )


def test_errors_roll_back_despite_missing_outcomes():
    """A failing treatment is rolled back even if its bots lack outcomes."""
    evidence = replace(GOOD, errors=replace(SOUND, harm_p_value=1e-4, held=False), outcomes=LOST)
    made = definition(assignment="unit_id")
    assert decide(made, evidence).action is Action.ROLLBACK


def test_improvement_at_limit_promotes():
    """A difference equal to the required improvement, up to rounding, is sufficient."""
    accuracy = replace(BETTER, difference=0.35 - 0.33)
    assert accuracy.difference < 0.02
    assert decide(definition(), replace(GOOD, accuracy=accuracy)).action is Action.PROMOTE


def test_drop_at_limit_is_no_harm():
    """A drop equal to the allowed one, up to rounding, is no reason for a rollback."""
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
            "it is significantly more than 2.00 ms slower",
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
            "4.00 percentage points more at the same times; it fails significantly more than 1.5",
        ),
        (
            {"accuracy": WORSE},
            "8.00 percentage points lower, more than the allowed 5.00",
        ),
    ],
)
def test_significant_harm_rolls_back(changes, reason):
    """Each of the three significant harms leads to a rollback with its numbers."""
    recommendation = decide(definition(), replace(GOOD, **changes))
    assert recommendation.action is Action.ROLLBACK
    assert reason in " ".join(recommendation.reasons)


def test_traffic_harm_needs_no_outcomes():
    """Errors lead to a rollback without a single labelled prediction."""
    evidence = replace(GOOD, treatment_labelled=0, errors=replace(SOUND, harm_p_value=1e-6))
    assert decide(definition(), evidence).action is Action.ROLLBACK


def test_harms_are_corrected_for_three():
    """A harm is significant only after Holm's correction for three hypotheses."""
    harmed = replace(GOOD, latency=replace(FAST, harm_p_value=0.0084))
    assert decide(definition(), harmed).action is not Action.ROLLBACK
    harmed = replace(GOOD, latency=replace(FAST, harm_p_value=0.0083))
    assert decide(definition(), harmed).action is Action.ROLLBACK


def test_sample_ratio_mismatch_blocks_verdict():
    """A sample ratio mismatch blocks promotion and rollback, and the reason states the counts."""
    broken = replace(RATIO, treatment=2000, always_valid_p_value=1e-9, healthy=False)
    for evidence in (GOOD, replace(GOOD, accuracy=WORSE)):
        recommendation = decide(definition(), replace(evidence, sample_ratio=broken))
        assert recommendation.action is Action.CONTINUE
        assert recommendation.reasons == (
            "No verdict: treatment has 2,000 of 11,000 predictions, 18.18% instead of the "
            "intended 10.00% (p below 0.0001). Requests are lost or misdirected; no number here is "
            "reliable until the cause is found.",
        )


def test_planned_end_without_verdict_keeps_control():
    """At the planned end without a verdict the reasons say that control stays."""
    evidence = replace(GOOD, accuracy=replace(UNCERTAIN, at_planned_end=True))
    assert "control stays" in decide(definition(), evidence).reasons[-1]


MANY = UnitCount(seen=40, labelled=38, effective=20.5)
FEW = UnitCount(seen=9, labelled=7, effective=3.24)


@pytest.mark.parametrize(("assignment", "served"), [("unit_id", "bots"), ("symbol", "symbols")])
def test_too_few_units_continue(assignment, served):
    """With too few bots or symbols the reason states their number and the number needed."""
    evidence = replace(GOOD, units={Variant.CONTROL: MANY, Variant.TREATMENT: FEW})
    found = decide(definition(assignment=assignment), evidence)
    assert found.action is Action.CONTINUE
    (reason,) = found.reasons
    assert reason.startswith(
        f"Too few {served}: control has 38 with an outcome, equivalent to 20.5 equally active "
    )
    assert "treatment has 7 with an outcome, equivalent to 3.2 equally active ones" in reason
    assert "each variant needs 5" in reason


def test_enough_units_lead_to_verdict():
    """With enough bots the conditions of a verdict are those of any experiment."""
    evidence = replace(GOOD, units=dict.fromkeys(Variant, MANY))
    assert decide(definition(assignment="unit_id"), evidence).action is Action.PROMOTE
    worse = replace(evidence, accuracy=replace(WORSE, difference=-0.2))
    assert decide(definition(assignment="unit_id"), worse).action is Action.ROLLBACK


def test_traffic_harm_needs_no_units():
    """Errors lead to a rollback with few bots, and the reasons point to the bots as a cause."""
    failing = replace(
        GOOD,
        units=dict.fromkeys(Variant, FEW),
        errors=replace(SOUND, harm_p_value=1e-9, held=False),
    )
    found = decide(definition(assignment="unit_id"), failing)
    assert found.action is Action.ROLLBACK
    assert "not between bots: check whether a few of them are the cause" in found.reasons[1]
    assert len(decide(definition(), failing).reasons) == 1


def test_unit_mismatch_names_the_units():
    """The reason of a mismatch of bots states that bots were counted."""
    ratio = replace(RATIO, healthy=False, control=30, treatment=70, counted="bots")
    (reason,) = decide(definition(assignment="unit_id"), replace(GOOD, sample_ratio=ratio)).reasons
    assert "treatment has 70 of 100 bots" in reason
