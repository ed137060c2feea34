"""Tails and quantiles, held against scipy.stats."""

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
def test_the_normal_tail_is_right_far_out_too(z):
    assert normal_tail(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


@pytest.mark.parametrize("freedom", [1.0, 4.7, 300.0, math.inf])
@pytest.mark.parametrize("t", [-2.0, 0.0, 2.5, 40.0])
def test_the_tail_of_students_t_is_right_far_out_too(t, freedom):
    assert t_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9)


@pytest.mark.parametrize("probability", [1e-9, 0.025, 0.5, 0.8])
def test_quantiles_are_those_of_scipy(probability):
    assert normal_quantile(probability) == pytest.approx(stats.norm.ppf(probability), abs=1e-12)
    for freedom in (1.0, 4.7, 300.0, math.inf):
        expected = stats.t.ppf(probability, freedom)
        assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 5])
@pytest.mark.parametrize("value", [0.0, 3.8, 60.0])
def test_the_tail_of_chi_squared_is_right_far_out_too(value, freedom):
    assert chi_squared_tail(value, freedom) == pytest.approx(
        stats.chi2.sf(value, freedom), rel=1e-9
    )
