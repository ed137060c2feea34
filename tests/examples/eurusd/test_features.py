"""The feature set of the example."""

import tomllib
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from examples.eurusd.dataset import TIMESTEPS
from examples.eurusd.features import CLIP, FEATURE_SET
from features import Bars
from features.feature_sets import (
    ENTRY_POINT_GROUP,
    check_feature_set,
    compute_rows,
    digest_source,
)
from testkit.paths import ROOT

LOOKBACK = FEATURE_SET.lookback


def test_check(bars):
    """The features of a bar depend on its lookback only."""
    report = check_feature_set(FEATURE_SET, bars, cut_points=12)
    assert report.is_passed, str(report.violation)


def test_lookback_is_needed(bars):
    """The oldest bar of the lookback does matter."""
    held = bars.take(slice(1000, 1000 + LOOKBACK))
    values = held.values.copy()
    values[:4, 0] *= 1.01
    changed = Bars(held.time, values)
    assert (FEATURE_SET.compute(held) != FEATURE_SET.compute(changed)).any()


def test_form(bars):
    """There are 110 features, clipped, and none is constant."""
    rows = compute_rows(FEATURE_SET, bars)
    assert len(set(FEATURE_SET.feature_names)) == 110
    assert rows.shape == (len(bars) - LOOKBACK + 1, 110)
    assert np.abs(rows).max() <= CLIP
    assert (rows.std(axis=0) > 0.05).all()


def test_constant_prices(bars):
    """Constant prices give finite features."""
    values = bars.values[:, :300].copy()
    values[:4] = 1.1
    compute_rows(FEATURE_SET, Bars(bars.time[:300], values))


def test_window(bars, samples):
    """A bot with only the lookback computes the window on which the network was trained."""
    for position in (0, 777, len(samples) - 1):
        last = samples.bars[position]
        held = bars.take(slice(last - LOOKBACK - TIMESTEPS + 2, last + 1))
        assert np.array_equal(FEATURE_SET.compute(held), samples.windows[position])


def test_too_few_bars(bars):
    """Too few bars for one row are an error."""
    with pytest.raises(ValueError, match="at least 241 bars, received 240"):
        FEATURE_SET.compute(bars.take(slice(LOOKBACK - 1)))


def test_entry_point():
    """The distribution of the examples declares the feature set under its name."""
    project = tomllib.loads((ROOT / "examples/pyproject.toml").read_text())["project"]
    declared = project["entry-points"][ENTRY_POINT_GROUP]
    assert list(declared) == [FEATURE_SET.name, "eurusd_talib"]
    entry = EntryPoint(FEATURE_SET.name, declared[FEATURE_SET.name], ENTRY_POINT_GROUP)
    assert entry.load() is FEATURE_SET
    assert digest_source(entry.module).modules == ("examples.eurusd.features",)
