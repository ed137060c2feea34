"""The outcome of a prediction by the market's bars."""

import math

import numpy as np
import pytest

from features import Bars
from features.errors import InvalidLabelRuleError
from features.labels import BUY, HOLD, SELL, LabelRule, market_class, market_classes, market_return
from registry.records import DIRECTIONS

HOUR_MS = 3_600_000


def bars(*closes, hours=None):
    """Return bars with these closes, hourly unless other hours are given."""
    time = np.array(range(len(closes)) if hours is None else hours) * HOUR_MS
    return Bars.of(time, np.tile(np.array(closes, np.float64), (5, 1)))


def test_directions():
    """The directions are those of the wire."""
    assert {"HOLD": HOLD, "BUY": BUY, "SELL": SELL} == DIRECTIONS


@pytest.mark.parametrize(
    ("market_return", "dead_band", "expected"),
    [(0.0, 0.0, 0), (1e-9, 0.0, 1), (-1e-9, 0.0, 2), (0.001, 0.001, 0), (-0.0011, 0.001, 2)],
)
def test_market_class(market_return, dead_band, expected):
    """HOLD is correct within the dead band; beyond it the sign decides."""
    assert market_class(market_return, dead_band) == expected


@pytest.mark.parametrize("dead_band", [0.0, 0.001, 0.5])
def test_classes(dead_band):
    """Many returns have the classes of each, at the edges of the dead band as well."""
    returns = np.random.default_rng(0).normal(0, 0.001, 200)
    returns[:4] = (0.0, dead_band, -dead_band, math.nextafter(dead_band, 1))
    expected = [market_class(value, dead_band) for value in returns.tolist()]
    assert market_classes(returns, dead_band).tolist() == expected


def test_outcome():
    """An outcome is known with the bar at the horizon, and later bars do not change it."""
    rule = LabelRule(2, dead_band=0.01)
    assert rule.outcome(bars(100, 101)) is None
    for later in ((), (1,)):
        outcome = rule.outcome(bars(100, 101, 102, *later))
        assert outcome.market_return == float(market_return(np.float64(100), np.float64(102)))
        assert (outcome.direction, outcome.time_ms) == (BUY, 2 * HOUR_MS)
    assert rule.outcome(bars(100, 1, 98)).direction == SELL
    assert rule.outcome(bars(100, 1, 100.5)).direction == HOLD


def test_weekend():
    """A horizon counts bars, so that a weekend does not consume it."""
    outcome = LabelRule(2, 0.0).outcome(bars(100, 101, 102, hours=[0, 1, 50]))
    assert outcome.time_ms == 50 * HOUR_MS


def test_no_price():
    """A close of 0 has no return."""
    assert LabelRule(1, 0.0).outcome(bars(0, 5)) is None


@pytest.mark.parametrize(("horizon", "band"), [(0, 0.1), (-1, 0.1), (1, -0.1), (1, math.nan)])
def test_invalid_rule(horizon, band):
    """The horizon is at least one bar, the dead band at least 0."""
    with pytest.raises(InvalidLabelRuleError, match="expected"):
        LabelRule(horizon, band)
