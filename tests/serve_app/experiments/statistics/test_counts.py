"""Tests of counts give the values that their sources print."""

import pytest

from serve_app.experiments.statistics.counts import pearson


def test_pearson():
    """Chi² equals that of Fabijan et al., KDD 2019, and of R's chisq.test for three variants."""
    chi_square, p = pearson((821588, 815482), (0.5, 0.5))
    assert chi_square == pytest.approx(22.7744, abs=5e-5)
    assert p == pytest.approx(1.822e-6, rel=5e-4)
    chi_square, p = pearson((166080, 171180, 166300), (1 / 3, 1 / 3, 1 / 3))
    assert chi_square == pytest.approx(99.04, abs=5e-3)
    assert p == pytest.approx(3.1e-22, rel=0.02)
