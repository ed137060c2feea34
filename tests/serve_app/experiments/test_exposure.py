"""Treatment's share grows step by step while nothing is wrong."""

from dataclasses import replace
from datetime import timedelta

import pytest

from serve_app.experiments.decision import decide
from serve_app.experiments.definition import ExperimentStatus
from serve_app.experiments.exposure import ExposureStep, next_share, with_recorded_exposure
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from tests.serve_app.experiments.decision_evidence import FAST, GOOD, RATIO, SOUND, WORSE
from tests.serve_app.experiments.factories import START, definition

STEPPED = definition(
    control_traffic=0.5, treatment_traffic=0.5, exposure_steps=(0.01, 0.05, 0.1, 0.25, 0.5)
)
STEP = ExposureStep(share=0.05, age_s=3600, treatment_predictions=100)


def advance(step=STEP, evidence=GOOD, *, breaker_closed=True):
    recommendation = decide(STEPPED, evidence)
    return next_share(STEPPED, step, evidence, recommendation, breaker_closed=breaker_closed)


def test_next_step_begins():
    """The share proceeds to the next step while the guardrails are within their limits."""
    assert advance() == 0.1
    assert advance(replace(STEP, share=0.25)) == 0.5
    assert advance(replace(STEP, share=0.5)) == 0.5
    assert next_share(definition(), STEP, GOOD, decide(STEPPED, GOOD), breaker_closed=True) == 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {"step": replace(STEP, age_s=3599)},
        {"step": replace(STEP, treatment_predictions=99)},
        {"evidence": replace(GOOD, latency=replace(FAST, within_limit=False))},
        {"evidence": replace(GOOD, errors=replace(SOUND, within_limit=False))},
        {"evidence": replace(GOOD, sample_ratio=replace(RATIO, healthy=False))},
        {"evidence": replace(GOOD, accuracy=WORSE)},
        {"breaker_closed": False},
    ],
)
def test_any_objection_keeps_the_step(changes):
    """The share stays if any condition of the next step is missing."""
    assert advance(**changes) == 0.05


STORED = StoredExperiment(
    definition=STEPPED,
    status=ExperimentStatus.RUNNING,
    started_at=START,
    ended_at=None,
    end_reason=None,
    final_report=None,
)


def exposed(hours, share):
    details = {"share": share, "before": 0.0}
    return HistoryEntry(time=START + timedelta(hours=hours), action="exposed", details=details)


def test_first_share():
    """A new experiment runs with the share of its first step."""
    created = HistoryEntry(time=START, action="created", details={})
    running = with_recorded_exposure(STORED, [created])
    assert (running.treatment_share, running.exposed_at) == (0.01, START)


def test_last_recorded_step():
    """The share is that of the last recorded exposure step."""
    running = with_recorded_exposure(STORED, [exposed(1, 0.05), exposed(3, 0.1)])
    assert (running.treatment_share, running.exposed_at) == (0.1, START + timedelta(hours=3))
