"""The page on feature sets agrees with the code."""

import numpy as np
import pytest

from examples.eurusd.data import load_bars
from features.errors import NoLookbackError
from features.feature_sets import (
    ENTRY_POINT_GROUP,
    FeatureSet,
    PanelFeatureSet,
    Rule,
    check_feature_set,
    find_lookback,
)
from testkit.feature_sets import ToyFeatureSet
from testkit.packages import install_package
from testkit.snippets import page, run_python

PAGE = page("docs/concepts/feature-sets.md")


def test_snippet(tmp_path):
    """The feature set of the snippet passes its check."""
    assert run_python(PAGE.block("python"), folder=tmp_path).strip() == "None"


def test_members():
    """The table lists the members of the protocol."""
    members = {row[0].strip("`").partition("(")[0] for row in PAGE.rows("Writing one")}
    assert members == {name for name in vars(FeatureSet) if not name.startswith("_")}


def test_rules():
    """The table lists the rules in their order."""
    rows = [(row[0].strip("`"), row[1]) for row in PAGE.rows("The check")]
    assert rows == [(rule.name, rule.value) for rule in Rule]


def test_entry_point():
    """The entry point is in the group that is searched."""
    assert f'entry-points."{ENTRY_POINT_GROUP}"' in PAGE.block("toml")


REJECTED = {
    "OBV": lambda talib, bars: talib.OBV(bars.close, bars.volume),
    "AD": lambda talib, bars: talib.AD(bars.high, bars.low, bars.close, bars.volume),
    "(close - KAMA(30)) / ATR(14)": lambda talib, bars: (
        (bars.close - talib.KAMA(bars.close, 30)) / talib.ATR(bars.high, bars.low, bars.close, 14)
    ),
}
INDICATORS = {
    "RSI(14)": lambda talib, bars: talib.RSI(bars.close, 14),
    "EMA(20)": lambda talib, bars: talib.EMA(bars.close, 20),
    "ATR(14)": lambda talib, bars: talib.ATR(bars.high, bars.low, bars.close, 14),
    "ADX(14)": lambda talib, bars: talib.ADX(bars.high, bars.low, bars.close, 14),
    "MACD(12, 26, 9)": lambda talib, bars: talib.MACD(bars.close, 12, 26, 9)[0],
    "KAMA(30)": lambda talib, bars: talib.KAMA(bars.close, 30),
    "STDDEV(20)": lambda talib, bars: talib.STDDEV(bars.close, 20),
    "SAR": lambda talib, bars: talib.SAR(bars.high, bars.low),
    "HT_DCPERIOD": lambda talib, bars: talib.HT_DCPERIOD(bars.close),
    "HT_TRENDMODE": lambda talib, bars: talib.HT_TRENDMODE(bars.close),
}


@pytest.mark.nightly
def test_lookbacks(tmp_path, monkeypatch):
    """The table's figures are those of a measurement."""
    install_package("ta-lib==0.8.2", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import talib

    bars = load_bars()

    def single(indicator, lookback):
        return ToyFeatureSet(
            function=lambda bars: np.float32(indicator(talib, bars)[lookback - 1 :, None]),
            lookback=lookback,
            feature_names=("value",),
        )

    def failed_checks(indicator, lookback):
        feature_set = single(indicator, lookback)
        reports = (check_feature_set(feature_set, bars, seed=seed) for seed in range(20))
        return sum(not report.is_passed for report in reports)

    measured = []
    for name, indicator in INDICATORS.items():
        found = find_lookback(single(indicator, 64), bars)
        failed = [failed_checks(indicator, lookback) for lookback in (found, found * 3 // 2)]
        measured.append([name, *map(str, [found, *failed])])
    for name, indicator in REJECTED.items():
        with pytest.raises(NoLookbackError):
            find_lookback(single(indicator, 64), bars)
        measured.append([name, "none up to 2048", "", ""])
    assert measured == [list(row) for row in PAGE.rows("Recursive indicators")]


def test_optional_member():
    """The table names the optional member of the protocol."""
    members = {row[0].strip("`").partition("(")[0] for row in PAGE.rows("Many symbols at once")}
    assert members == {name for name in vars(PanelFeatureSet) if name.startswith("compute")}
