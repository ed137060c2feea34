"""Small feature sets and random bars."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features import BarPanel, Bars, Timeframe
from features.feature_sets import ENTRY_POINT_GROUP, feature_set_names
from registry.feature_sets import FeatureSetRecord
from testkit.distributions import write_distribution

HOURLY = Timeframe.parse("1h")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyFeatureSet:
    """A feature set around a function."""

    function: Callable[[Bars], Any]
    """Returns the rows of bars; it may break the rules."""
    name: str = "toy"
    version: str = "1"
    timeframe: Timeframe = HOURLY
    lookback: int = 3
    feature_names: tuple[str, ...] = ("change", "volume")

    def compute(self, bars: Bars) -> Any:
        """Return the function's rows."""
        return self.function(bars)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyPanelFeatureSet(ToyFeatureSet):
    """A feature set around two functions."""

    last_function: Callable[[BarPanel], Any]
    """Returns the last row of each series; it may break the rules."""

    def compute_last(self, panel: BarPanel) -> Any:
        """Return the function's rows."""
        return self.last_function(panel)


def last_change_and_volume(panel: BarPanel) -> Any:
    """Return what `change_and_volume` returns for the last bar of each series."""
    change = panel.close[:, -1] - panel.close[:, -3]
    return np.column_stack([change, panel.volume[:, -1]]).astype(np.float32)


def change_and_volume(bars: Bars) -> Any:
    """Return the change of the close over two bars, and the volume, of each bar from the third."""
    change = bars.close[2:] - bars.close[:-2]
    return np.column_stack([change, bars.volume[2:]]).astype(np.float32)


def random_bars(count: int, seed: int = 0) -> Bars:
    """Return valid hourly bars of a random walk, with some gaps."""
    random = np.random.default_rng(seed)
    time = np.cumsum(random.choice([1, 1, 1, 1, 1, 1, 1, 49], count)) * HOURLY.length_ms
    close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, count)))
    opened = close * np.exp(random.normal(0, 1e-3, count))
    high = np.maximum(opened, close) * 1.001
    low = np.minimum(opened, close) * 0.999
    return Bars.of(time, [opened, high, low, close, random.uniform(0, 1e4, count)])


def record(**fields: Any) -> FeatureSetRecord:
    """Return the record of a toy feature set of 2 features, with `fields` replaced."""
    defaults: dict[str, Any] = {
        "name": "toy",
        "version": "1",
        "sha256": "0" * 64,
        "feature_names": ("change", "volume"),
        "checked_on": "9 bars",
    }
    return FeatureSetRecord(**{**defaults, **fields})


def write_feature_set(
    site: Path,
    module: str,
    *,
    lookback: int = 3,
    comment: str = "",
    imported: str = "",
    feature_names: str = '("change", "volume")',
) -> None:
    """Write a distribution that declares the feature set `acme_toy` of 2 features.

    Args:
        site: the folder, which belongs on `sys.path`.
        module: the name of its module.
        lookback: the lookback that it declares; it needs 3.
        comment: a text that changes nothing but the source.
        imported: a further import.
        feature_names: the source of the names of its features.
    """
    source = f"""# {comment}
{imported}
from testkit.feature_sets import ToyFeatureSet, change_and_volume

def rows(bars):
    return change_and_volume(bars)[{lookback} - 3:]

TOY = ToyFeatureSet(
    function=rows, name="acme_toy", lookback={lookback}, feature_names={feature_names}
)
"""
    write_distribution(site, "acme", module, source, group=ENTRY_POINT_GROUP, acme_toy="TOY")


def declare_example(site: Path) -> None:
    """Declare the example's feature set, unless the distribution of the examples is installed.

    Args:
        site: the folder, which belongs on `sys.path`; it is created.
    """
    site.mkdir(parents=True, exist_ok=True)
    if "eurusd_hourly" in feature_set_names():
        return
    info = site / "tradeserve_examples-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tradeserve-examples\nVersion: 0.1.0\n"
    )
    (info / "entry_points.txt").write_text(
        f"[{ENTRY_POINT_GROUP}]\neurusd_hourly = examples.eurusd.features:FEATURE_SET\n"
    )


def consecutive_bars(count: int, seed: int = 0) -> Bars:
    """Return valid hourly bars of a random walk without gaps, from 2026 on."""
    bars = random_bars(count, seed)
    monday = 1_767_571_200_000
    return Bars(monday + np.arange(count) * HOURLY.length_ms, bars.values)
