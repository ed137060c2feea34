"""Sharpe ratios and their errors equal the published values."""

import math

import numpy as np
import pytest

from serve_app.experiments.statistics.estimates import VariantBlocks
from serve_app.experiments.statistics.sequential import Moments
from serve_app.experiments.statistics.sharpe import (
    difference,
    jobson_korkie_memmel,
    sharpe_ratio,
    standard_error,
)


def test_difference_of_pairs():
    """Jobson and Korkie (1981) with Memmel (2003): T = 120, S = .108 and .011, rho = .87."""
    test = jobson_korkie_memmel(0.108, 0.011, 0.87, 120)
    assert test.p_value == pytest.approx(0.0390, abs=5e-5)


@pytest.mark.parametrize(
    ("n", "expected"), [(12, 0.306), (24, 0.217), (36, 0.177), (48, 0.153), (60, 0.137)]
)
def test_standard_error(n, expected):
    """The standard error equals table 1 of Lo (2002) for SR = .5."""
    assert standard_error(0.5, n) == pytest.approx(expected, abs=5e-4)


def test_block_error_equals_lo():
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
