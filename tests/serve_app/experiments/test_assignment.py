"""The split is fair, stable and independent between experiments."""

from datetime import timedelta
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.assignment import assign, uniform, unit_of
from serve_app.experiments.records import Variant
from tests.serve_app.experiments.factories import START, definition

UNITS = [f"request:{number}" for number in range(100_000)]


@cache
def variants(salt, share):
    made = definition(salt=salt)
    return np.array([assign(made, unit, share) is Variant.TREATMENT for unit in UNITS])


def test_hash_is_stable():
    """The hash has fixed values: different ones would move bots to the other variant after an
    upgrade."""
    assert uniform("v1_vs_v2", "request:0") == pytest.approx(0.06243246934785718, abs=1e-15)
    assert uniform("ab", "c") != uniform("a", "bc")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_split_is_binomial(share):
    """The split of 100,000 units is within the bounds of the binomial distribution."""
    low, high = stats.binom.interval(0.999, len(UNITS), share)
    assert low <= variants("a salt", share).sum() <= high


def test_hash_is_uniform():
    """The hash values of units are uniform."""
    values = [uniform("a salt", unit) for unit in UNITS]
    assert stats.kstest(values, "uniform").pvalue > 0.001


def test_experiments_are_independent():
    """Two experiments assign the same units independently."""
    first, second = variants("v1_vs_v2", 0.3), variants("v2_vs_v3", 0.5)
    table = [[np.sum((first == a) & (second == b)) for a in (0, 1)] for b in (0, 1)]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_growing_share_keeps_treatment():
    """A growing share only moves units from control to treatment."""
    steps = [variants("a salt", share) for share in (0.01, 0.05, 0.1, 0.25, 0.5)]
    for smaller, larger in pairwise(steps):
        assert np.all(larger[smaller])
        assert larger.sum() > smaller.sum()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_extreme_shares(share):
    """A share of 0 or 1 assigns all units to one variant."""
    assert variants("a salt", share).mean() == share


def unit(assignment, *, number=0, unit_id=None, symbol="EURUSD", seconds=0.0):
    changes = {"switchback_block_s": 60} if assignment == "switchback" else {}
    return unit_of(
        definition(assignment=assignment, **changes),
        prediction_id=f"p{number}",
        unit_id=unit_id,
        symbol=symbol,
        time=START + timedelta(seconds=seconds),
    )


def test_units():
    """Requests of one unit share an assignment, under each kind of assignment."""
    assert unit("request", number=1) != unit("request", number=2)
    assert unit("unit_id", number=1, unit_id="bot") == unit("unit_id", number=2, unit_id="bot")
    assert unit("unit_id", number=1) != unit("unit_id", number=2)
    assert unit("symbol", number=1) == unit("symbol", number=2)
    assert unit("symbol", symbol="EURUSD") != unit("symbol", symbol="GBPUSD")
    assert unit("switchback", seconds=0) == unit("switchback", seconds=59.9)
    assert unit("switchback", seconds=0) != unit("switchback", seconds=60)
    assert unit("switchback") != unit("switchback", symbol="GBPUSD")
