"""The next step of an experiment is a pure function of its situation."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from serve_app.control_plane.experiment_steps import (
    Analyse,
    BeginPromotion,
    End,
    Expose,
    ObserveBreaker,
    Production,
    Promote,
    ReadProduction,
    Reload,
    Situation,
    Wait,
    next_step,
)
from serve_app.experiments.analysis import Analysis, analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.decision import Action, Recommendation
from serve_app.experiments.definition import EndReason, ExperimentStatus
from serve_app.experiments.history import StoredExperiment
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.running import RunningExperiment
from tests.serve_app.control_plane.experiment_world import START, definition

VERDICT = {"recommendation": {"action": "promote", "reasons": ["it is better"]}}
APPLIES = {"auto_apply": True, "horizon_s": 60}
GROWS = {"exposure_steps": (0.01, 0.1), "min_samples": 10}


def situation(hours=1.1, splits=True, **fields):
    """Return the situation of an experiment that started `hours` ago and lasts 24 hours."""
    described = definition(**fields)
    stored = StoredExperiment(
        definition=described,
        status=ExperimentStatus.RUNNING,
        started_at=START,
        ended_at=None,
        end_reason=None,
        final_report=None,
    )
    running = RunningExperiment(
        definition=described, treatment_share=described.first_share, exposed_at=START
    )
    now = START + timedelta(hours=hours)
    return Situation(experiment=stored, now=now, running=running if splits else None)


def analysed(known, action, treated=0):
    """Return the situation with an analysis that recommends `action`."""
    described = known.experiment.definition
    empty = analyse(described, BlockClock.of(described, START), [])
    verdict = Recommendation(action=action, reasons=("it is better",))
    analysis = Analysis(empty.document, empty.evidence, verdict)
    return replace(known, analysis=InterimAnalysis(analysis, treated))


@pytest.mark.parametrize(
    ("known", "step"),
    [
        (situation(), Wait()),
        (situation(**APPLIES), Analyse(START)),
        (situation(**GROWS), Analyse(START)),
        (situation(splits=False, **APPLIES), Wait()),
        (situation(hours=25), Analyse(START + timedelta(hours=25), at_planned_end=True)),
        (situation(hours=24, **APPLIES), Wait()),
    ],
    ids=["reports only", "applies", "grows", "suspended", "planned end", "last outcomes"],
)
def test_analysis_precedes_dependent_steps(known, step):
    assert next_step(known) == step


def test_rollback_does_not_wait_for_the_routers():
    step = next_step(analysed(situation(**APPLIES), Action.ROLLBACK))
    assert isinstance(step, End)
    assert (step.reason, step.action) == (EndReason.ROLLED_BACK, "rolled_back")


def test_promotion_needs_closed_breakers():
    known = analysed(situation(**APPLIES), Action.PROMOTE)
    assert next_step(known) == ObserveBreaker()
    assert next_step(replace(known, breaker_closed=False)) == Wait()
    step = next_step(replace(known, breaker_closed=True))
    assert isinstance(step, BeginPromotion)
    assert step.verdict["recommendation"] == VERDICT["recommendation"]


def test_promotion_step_by_step():
    """It takes one observation at a time, and may stop and continue after each of them."""
    known = replace(situation(**APPLIES), promotion=VERDICT)
    assert next_step(known) == ReadProduction()
    known = replace(known, production=Production("1.0.0"))
    assert next_step(known) == Promote("it is better")
    known = replace(known, production=Production("1.1.0"))
    assert next_step(known) == Reload()
    known = replace(known, reloaded=True)
    assert next_step(known) == End(EndReason.PROMOTED, "promoted", VERDICT)


@pytest.mark.parametrize("version", ["1.2.0", None])
def test_other_production_supersedes_a_promotion(version):
    known = replace(situation(**APPLIES), promotion=VERDICT, production=Production(version))
    step = next_step(known)
    assert (step.reason, step.action) == (EndReason.SUPERSEDED, "superseded")
    reasons = step.document["recommendation"]["reasons"]
    assert reasons[0] == "it is better"
    assert f"production of toy is {version or 'nothing'} now" in reasons[1]


def test_exposure_grows_after_enough_predictions():
    known = replace(analysed(situation(**GROWS), Action.CONTINUE, treated=10), breaker_closed=True)
    assert next_step(known) == Expose(0.1)
    assert next_step(replace(known, breaker_closed=False)) == Wait()
    few = analysed(situation(**GROWS), Action.CONTINUE, treated=9)
    assert next_step(replace(few, breaker_closed=True)) == Wait()


@pytest.mark.parametrize(
    ("action", "fields", "reason"),
    [
        (Action.CONTINUE, APPLIES, EndReason.DURATION),
        (Action.ROLLBACK, APPLIES, EndReason.ROLLED_BACK),
        (Action.ROLLBACK, {}, EndReason.DURATION),
        (Action.PROMOTE, {}, EndReason.DURATION),
    ],
)
def test_planned_end_applies_the_verdict(action, fields, reason):
    step = next_step(analysed(situation(hours=25, **fields), action))
    assert step.reason is reason


def test_planned_end_may_promote():
    step = next_step(analysed(situation(hours=25, **APPLIES), Action.PROMOTE))
    assert isinstance(step, BeginPromotion)


def test_begun_end_comes_first():
    """Nothing else happens to an experiment whose end is not stored yet."""
    end = End(EndReason.STOPPED, "stopped")
    known = replace(situation(**APPLIES), ending=end, promotion=VERDICT)
    assert next_step(known) is end


def test_steps_use_the_given_time():
    at = datetime(2026, 1, 3, tzinfo=UTC)
    assert replace(situation(), now=at).age_s == 86_400
