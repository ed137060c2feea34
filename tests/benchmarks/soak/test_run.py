"""The soak of the default server, three minutes of it."""

import pytest

from benchmarks.soak.run import run

MINUTES = 3.0
MAX_GROWTH_PERCENT = 20.0
"""More than the goal of the hour: after half a minute not everything has been used once."""
MAX_GCS_MB_PER_MINUTE = 0.5


@pytest.mark.nightly
@pytest.mark.cluster
def test_short():
    """Under load, reloads and experiments nothing fails, and neither memory nor files leak."""
    report = run(MINUTES)
    assert report.facts["failures"] == {}
    assert report.facts["events"] == []
    calls = report.facts["calls"]
    assert calls["reload"] >= 5
    assert calls["experiment"] >= 3
    assert calls["outcomes"] >= 20
    growing = {
        role: figures["growth_percent"]
        for role, figures in report.figures.items()
        if figures.get("growth_percent", 0) > MAX_GROWTH_PERCENT and figures["before_mb"] > 20
    }
    assert growing == {}
    total = report.figures["all processes"]
    assert total["descriptors_after"] <= 1.05 * total["descriptors_before"]
    gcs = report.figures["gcs"]
    assert gcs["after_mb"] - gcs["before_mb"] <= MAX_GCS_MB_PER_MINUTE * MINUTES
