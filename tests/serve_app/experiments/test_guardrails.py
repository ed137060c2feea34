"""Guardrails raise few false alarms at any number of interim looks, and detect harm."""

import pytest

from serve_app.experiments.guardrails import error_guardrail, latency_guardrail
from serve_app.experiments.table import tabulate
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.simulation import CLOCK, Experiments

ALPHA = 0.025
HALVES = {"control_traffic": 0.5, "treatment_traffic": 0.5}


def table(made, count=4000, **variants):
    blocks = Experiments(1, 1, count).summaries(0, count, **variants)
    return tabulate(made, CLOCK, blocks)


def test_equal_variants_hold():
    """Equal variants hold both guardrails."""
    made = definition(**HALVES)
    rows = table(made, errors=(0.002, 0.002))
    for guardrail in (latency_guardrail(made, rows, ALPHA), error_guardrail(made, rows, ALPHA)):
        assert guardrail.held
        assert guardrail.within_limit
        assert guardrail.harm_p_value > 0.5


def test_undecided():
    """With few data a guardrail is neither held nor broken."""
    made = definition(**HALVES)
    rows = table(made, count=60, errors=(0.02, 0.02))
    guardrail = error_guardrail(made, rows, ALPHA)
    assert not guardrail.held
    assert guardrail.harm_p_value > ALPHA


def test_harm_is_significant():
    """A slower or more often failing treatment is significant harm."""
    made = definition(**HALVES)
    rows = table(made, errors=(0.01, 0.05), latency_ms=(2.0, 5.0))
    for guardrail in (latency_guardrail(made, rows, ALPHA), error_guardrail(made, rows, ALPHA)):
        assert not guardrail.held
        assert not guardrail.within_limit
        assert guardrail.harm_p_value < 1e-4


def test_within_limit_holds():
    """A treatment that is slower within the limit holds the guardrail."""
    made = definition(**HALVES)
    guardrail = latency_guardrail(made, table(made, latency_ms=(2.0, 3.0)), ALPHA)
    assert guardrail.held
    assert guardrail.worst_case == pytest.approx(1.0, abs=0.3)
