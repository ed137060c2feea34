"""Fixed-horizon tests give the values of their sources and of SciPy."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.statistics.fixed_horizon import two_proportion, welch
from serve_app.experiments.statistics.sequential import Moments


def test_welch():
    """Difference, interval and p-value equal those of tea-tasting for the same sums."""
    control = Moments(n=3407, total=1396.87, square_total=52377.9767)
    treatment = Moments(n=3461, total=2422.7, square_total=134698.29)
    test = welch(control, treatment)
    assert test.difference == pytest.approx(0.29, abs=5e-5)
    assert test.interval == pytest.approx((0.04538, 0.53462), abs=5e-6)
    assert test.p_value == pytest.approx(0.02016, abs=5e-6)


def test_equal_to_scipy():
    """Welch's test equals SciPy's, and the two-proportion test the chi-square test."""
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
