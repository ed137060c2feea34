"""Guardrails raise few false alarms at any number of interim looks, and detect harm."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.guardrails import PLANNED_ERRORS, error_guardrail, latency_guardrail
from serve_app.experiments.statistics.sequential import log_bernoulli_e_value, rate_ratio_p_value
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


@pytest.mark.parametrize("ratio", [1.0, 1.5])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_error_rate_false_alarms(ratio, share):
    """At the limit, looks after every error raise an alarm with probability alpha at most.

    The errors of treatment are exactly `ratio` times as frequent.
    """
    generator = np.random.default_rng(2)
    boundary = ratio * share / (ratio * share + 1 - share)
    treated = (generator.random((2000, 400)) < boundary).cumsum(axis=1)
    errors = np.arange(1, 401)
    evidence = log_bernoulli_e_value(treated, errors, boundary, PLANNED_ERRORS)
    p_values = np.where(treated > errors * boundary, np.exp(-evidence) / 2, 1.0)
    rejected = (p_values <= ALPHA).any(axis=1).sum()
    assert rejected <= stats.binom.ppf(0.999, 2000, ALPHA)
    # The function itself, at one point of one of these paths:
    requests = 1_000_000
    counts = (int(errors[99] - treated[0, 99]), int((1 - share) * requests))
    treatment = (int(treated[0, 99]), int(share * requests))
    expected = min(1.0, p_values[0, 99])
    assert rate_ratio_p_value(counts, treatment, ratio, PLANNED_ERRORS) == pytest.approx(
        expected, rel=1e-3
    )


def harm(control, treatment):
    return rate_ratio_p_value(control, treatment, 1.0, PLANNED_ERRORS)


def test_errors_without_control():
    """Errors without a comparison are no evidence."""
    assert harm((0, 0), (5, 5)) == 1.0
    assert harm((0, 100), (0, 100)) == 1.0
    assert harm((0, 100), (1, 100)) > 0.2
    assert harm((0, 1000), (30, 1000)) < 1e-4
