"""Tails and quantiles equal those of scipy.stats."""

import math

import pytest
from scipy import stats

from serve_app.experiments.statistics.distributions import (
    chi_squared_tail,
    normal_quantile,
    normal_tail,
    t_quantile,
    t_tail,
)


@pytest.mark.parametrize("z", [-3.0, 0.0, 1.96, 9.0])
def test_normal_tail(z):
    """The normal tail is exact, even far out."""
    assert normal_tail(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


@pytest.mark.parametrize("freedom", [1.0, 4.7, 300.0, math.inf])
@pytest.mark.parametrize("t", [-2.0, 0.0, 2.5, 40.0])
def test_t_tail(t, freedom):
    """The tail of Student's t is exact, even far out."""
    assert t_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9)


@pytest.mark.parametrize("probability", [1e-9, 0.025, 0.5, 0.8])
def test_quantiles(probability):
    """The quantiles of the normal and of Student's t equal those of scipy."""
    assert normal_quantile(probability) == pytest.approx(stats.norm.ppf(probability), abs=1e-12)
    for freedom in (1.0, 4.7, 300.0, math.inf):
        expected = stats.t.ppf(probability, freedom)
        assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 5])
@pytest.mark.parametrize("value", [0.0, 3.8, 60.0])
def test_chi_squared_tail(value, freedom):
    """The tail of chi-squared is exact, even far out."""
    assert chi_squared_tail(value, freedom) == pytest.approx(
        stats.chi2.sf(value, freedom), rel=1e-9
    )
