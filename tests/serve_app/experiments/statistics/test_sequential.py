"""Sequential statistics give the values that their sources print."""

import math

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.guardrails import PLANNED_ERRORS
from serve_app.experiments.statistics.sequential import (
    asymptotic_half_width,
    bernoulli_interval,
    critical_t,
    log_bernoulli_e_value,
    log_e_value,
    normal_mixture_boundary,
    p_value,
    rate_ratio_p_value,
    tuning,
)


def test_asymptotic_confidence_sequence():
    """Waudby-Smith et al., arXiv 2103.06476: alpha .05, n* = 5000."""
    assert math.sqrt(tuning(0.05) / 5000) == pytest.approx(0.0398401, abs=5e-8)
    assert asymptotic_half_width(5000, 1.0, 0.05, 5000) == pytest.approx(0.0429243, abs=5e-8)
    fixed = stats.norm.isf(0.025) / math.sqrt(5000)
    assert fixed == pytest.approx(0.0277181, abs=5e-8)


def test_normal_mixture_boundary():
    """Howard et al., arXiv 1810.08240, package confseq: v = v_opt = 100, alpha .05, two-sided."""
    assert 100 / tuning(0.05) == pytest.approx(12.60056, abs=5e-6)
    assert normal_mixture_boundary(100, 0.05, 100) == pytest.approx(30.35209, abs=5e-6)


def test_bernoulli_interval():
    """Package confseq, bernoulli_confidence_interval: 700 of 1000, alpha .05, t_opt = 100, as
    it prints them, six digits and no rounding."""
    assert bernoulli_interval(700, 1000, 0.05, 100) == pytest.approx((0.651629, 0.745949), abs=1e-6)


@pytest.mark.parametrize("freedom", [2.0, 15.0, 300.0, math.inf])
@pytest.mark.parametrize("information", [0.5, 8.0, 1e4])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_critical_t_inverts_p_value(freedom, information, alpha):
    """At the critical t the p-value is alpha."""
    critical = critical_t(freedom, information, alpha)
    if np.isinf(critical):
        assert p_value(1e12, freedom, information) > alpha
    else:
        assert p_value(critical, freedom, information) == pytest.approx(alpha)


@pytest.mark.parametrize("freedom", [3, 20])
def test_evidence_is_mixture(freedom):
    """The evidence equals the numerical integral of the mixture of likelihood ratios.

    The noncentral t is integrated over a normal prior on its centre.
    """
    information, t = 2.5, 2.2
    centres = np.linspace(-15, 15, 6001)
    prior = stats.norm.pdf(centres, scale=math.sqrt(information))
    mixture = np.trapezoid(stats.nct.pdf(t, freedom, centres) * prior, centres)
    expected = math.log(mixture / stats.t.pdf(t, freedom))
    assert log_e_value(t, freedom, information) == pytest.approx(expected, abs=1e-6)


def test_evidence_averages_one():
    """Without an effect the evidence averages one, the condition of a martingale, at any look."""
    for freedom in (2, 10, 100):
        t = np.tan(np.linspace(-math.pi / 2, math.pi / 2, 200_002)[1:-1])
        density = stats.t.pdf(t, freedom)
        average = np.trapezoid(np.exp(log_e_value(t, freedom, 3.0)) * density, t)
        assert average == pytest.approx(1.0, abs=1e-3)


ALPHA = 0.025


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
