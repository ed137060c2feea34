"""The comparison of two versions."""

import pytest

from registry.comparison import compare
from testkit.models import metadata


def test_metrics_are_compared_by_name():
    """Differences are second - first, in percent of |first|; missing metrics have none."""
    first = metadata(metrics={"sharpe": -2.0, "zero": 0, "old": 1, "same": 0})
    second = metadata(version="1.1.0", metrics={"sharpe": -1.0, "zero": 1, "new": 1, "same": 0})
    comparison = compare(first, second)
    assert comparison["metrics_comparison"] == {
        "sharpe": {"v1": -2.0, "v2": -1.0, "diff": 1.0, "diff_pct": 50.0},
        "zero": {"v1": 0, "v2": 1, "diff": 1, "diff_pct": None},
        "old": {"v1": 1, "v2": None, "diff": None, "diff_pct": None},
        "same": {"v1": 0, "v2": 0, "diff": 0, "diff_pct": 0.0},
        "new": {"v1": None, "v2": 1, "diff": None, "diff_pct": None},
    }
    assert comparison["size_comparison"]["diff_mb"] == pytest.approx(0)
    assert (comparison["model_name"], comparison["version2"]) == (first.name, "1.1.0")
