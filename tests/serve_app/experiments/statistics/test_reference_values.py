"""The statistics give what their sources print."""

import math

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.statistics.counts import pearson
from serve_app.experiments.statistics.estimates import VariantBlocks
from serve_app.experiments.statistics.fixed_horizon import two_proportion, welch
from serve_app.experiments.statistics.multiple_testing import holm
from serve_app.experiments.statistics.sequential import (
    Moments,
    asymptotic_half_width,
    bernoulli_interval,
    critical_t,
    log_e_value,
    normal_mixture_boundary,
    p_value,
    tuning,
)
from serve_app.experiments.statistics.sharpe import (
    difference,
    jobson_korkie_memmel,
    sharpe_ratio,
    standard_error,
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


def test_welch():
    """Sums, sums of squares and counts with the difference, interval and p of tea-tasting."""
    control = Moments(n=3407, total=1396.87, square_total=52377.9767)
    treatment = Moments(n=3461, total=2422.7, square_total=134698.29)
    test = welch(control, treatment)
    assert test.difference == pytest.approx(0.29, abs=5e-5)
    assert test.interval == pytest.approx((0.04538, 0.53462), abs=5e-6)
    assert test.p_value == pytest.approx(0.02016, abs=5e-6)


def test_welch_and_two_proportion_equal_scipy_and_the_chi_square_test():
    generator = np.random.default_rng(1)
    control, treatment = generator.normal(0, 1, 40), generator.normal(0.4, 2, 60)
    ours = welch(
        *(Moments(n=len(x), total=x.sum(), square_total=x @ x) for x in (control, treatment))
    )
    scipys = stats.ttest_ind(treatment, control, equal_var=False)
    assert ours.p_value == pytest.approx(scipys.pvalue)
    assert ours.interval == pytest.approx(tuple(scipys.confidence_interval(0.95)))
    table = [[510, 490], [560, 440]]
    chi = stats.chi2_contingency(table, correction=False)
    assert two_proportion(510, 1000, 560, 1000).p_value == pytest.approx(chi.pvalue)


def test_sample_ratio():
    """821588 against 815482, and three variants; Fabijan et al., KDD 2019, and R's chisq.test."""
    chi_square, p = pearson((821588, 815482), (0.5, 0.5))
    assert chi_square == pytest.approx(22.7744, abs=5e-5)
    assert p == pytest.approx(1.822e-6, rel=5e-4)
    chi_square, p = pearson((166080, 171180, 166300), (1 / 3, 1 / 3, 1 / 3))
    assert chi_square == pytest.approx(99.04, abs=5e-3)
    assert p == pytest.approx(3.1e-22, rel=0.02)


def test_sharpe_difference_of_pairs():
    """Jobson and Korkie (1981) with Memmel (2003): T = 120, S = .108 and .011, rho = .87."""
    test = jobson_korkie_memmel(0.108, 0.011, 0.87, 120)
    assert test.p_value == pytest.approx(0.0390, abs=5e-5)


@pytest.mark.parametrize(
    ("n", "expected"), [(12, 0.306), (24, 0.217), (36, 0.177), (48, 0.153), (60, 0.137)]
)
def test_standard_error_of_a_sharpe_ratio(n, expected):
    """Lo (2002), table 1: SR = .5."""
    assert standard_error(0.5, n) == pytest.approx(expected, abs=5e-4)


def test_the_block_error_of_independent_returns_is_lo_s():
    """With independent normal returns the HAC error agrees with Lo's formula for each variant."""
    generator = np.random.default_rng(2)
    variants = []
    for mean in (0.1, 0.3):
        returns = generator.normal(mean, 1, (400, 50))
        variants.append(
            VariantBlocks(np.full(400, 50.0), returns.sum(1), np.square(returns).sum(1))
        )
    effect = difference(*variants, neighbours=False)
    ratios = [
        sharpe_ratio(
            Moments(n=20_000, total=variant.total.sum(), square_total=variant.square_total.sum())
        )
        for variant in variants
    ]
    expected = math.hypot(*(standard_error(ratio, 20_000) for ratio in ratios))
    assert effect.value == pytest.approx(ratios[1] - ratios[0])
    assert effect.standard_error == pytest.approx(expected, rel=0.08)


def test_holm():
    """Holm (1979) by hand: .01 * 3, .03 * 2, and no smaller than the last; as R's p.adjust."""
    adjusted = holm({"a": 0.03, "b": 0.01, "c": 0.04})
    assert adjusted == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("freedom", [2.0, 15.0, 300.0, math.inf])
@pytest.mark.parametrize("information", [0.5, 8.0, 1e4])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_interval_inverts_the_p_value(freedom, information, alpha):
    critical = critical_t(freedom, information, alpha)
    if np.isinf(critical):
        assert p_value(1e12, freedom, information) > alpha
    else:
        assert p_value(critical, freedom, information) == pytest.approx(alpha)


@pytest.mark.parametrize("freedom", [3, 20])
def test_the_evidence_is_the_mixture_of_likelihood_ratios(freedom):
    """Against numerical integration of the noncentral t over a normal prior on its centre."""
    information, t = 2.5, 2.2
    centres = np.linspace(-15, 15, 6001)
    prior = stats.norm.pdf(centres, scale=math.sqrt(information))
    mixture = np.trapezoid(stats.nct.pdf(t, freedom, centres) * prior, centres)
    expected = math.log(mixture / stats.t.pdf(t, freedom))
    assert log_e_value(t, freedom, information) == pytest.approx(expected, abs=1e-6)


def test_without_effect_the_evidence_averages_one():
    """The martingale's promise at any one look, by integration over Student's t."""
    for freedom in (2, 10, 100):
        t = np.tan(np.linspace(-math.pi / 2, math.pi / 2, 200_002)[1:-1])
        density = stats.t.pdf(t, freedom)
        average = np.trapezoid(np.exp(log_e_value(t, freedom, 3.0)) * density, t)
        assert average == pytest.approx(1.0, abs=1e-3)
