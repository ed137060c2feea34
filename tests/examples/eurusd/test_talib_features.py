"""The feature set of TA-Lib's indicators, with TA-Lib installed for this module."""

import importlib
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from features import Bars
from features.feature_sets import (
    ENTRY_POINT_GROUP,
    Rule,
    check_feature_set,
    compute_rows,
    find_lookback,
)
from testkit.packages import install_package
from testkit.paths import ROOT

pytestmark = pytest.mark.nightly
PROJECT = tomllib.loads((ROOT / "examples/pyproject.toml").read_text())["project"]
MODULE = "examples.eurusd.talib_features"


@pytest.fixture(scope="module")
def feature_set(tmp_path_factory):
    """The feature set that the entry point names."""
    folder = tmp_path_factory.mktemp("talib")
    install_package(*PROJECT["optional-dependencies"]["talib"], folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module(MODULE).FEATURE_SET


def test_entry_point(feature_set):
    """The distribution of the examples declares it under its name."""
    assert PROJECT["entry-points"][ENTRY_POINT_GROUP][feature_set.name] == f"{MODULE}:FEATURE_SET"


def test_check(feature_set, bars):
    """With its lookback, rows do not depend on where the bars start."""
    for seed in range(5):
        report = check_feature_set(feature_set, bars, seed=seed)
        assert report.is_passed, str(report.violation)


def test_lookback(feature_set, bars):
    """Its lookback is half as many bars more than the smallest one; half of that is rejected."""
    found = find_lookback(replace(feature_set, lookback=64), bars)
    assert 1.4 * found <= feature_set.lookback <= 1.6 * found
    violation = check_feature_set(replace(feature_set, lookback=found // 2), bars).violation
    assert violation.rule is Rule.LOOKBACK


def test_constant_prices(feature_set, bars):
    """Constant prices give finite features."""
    values = bars.values[:, :800].copy()
    values[:4] = 1.1
    rows = compute_rows(feature_set, Bars(bars.time[:800], values))
    assert np.isfinite(rows).all()
