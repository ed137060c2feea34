"""The page on feature sets agrees with the code."""

import asyncio
import os

import pytest

from registry import ModelRegistry
from serve_app.cli import bar_sources
from testkit.feature_sets import declare_example
from testkit.models import linear_onnx
from testkit.paths import ROOT
from testkit.snippets import page, run_python

PAGE = page("docs/guides/feature-sets.md")


def test_options():
    """The table lists the options for bars, with their variables."""
    rows = {row[0].strip("`"): row[1].strip("`") for row in PAGE.rows("Show and check")}
    assert rows == {
        "--bars": "",
        "--bar-log": "MODELCTL_BAR_LOG",
        "--bar-log-url": "MODELCTL_BAR_LOG_URL",
    }


def test_bounds():
    """The page states the number of bars of a check."""
    assert f"The latest {bar_sources.CHECKED_BARS:,} bars are used" in " ".join(PAGE.text.split())


@pytest.mark.slow
def test_snippet(tmp_path):
    """The Python snippet registers a version with its feature set."""
    declare_example(tmp_path / "site")
    (tmp_path / "trained.onnx").write_bytes(linear_onnx(shape=(60, 110)))
    paths = os.pathsep.join([str(ROOT), str(tmp_path / "site")])
    run_python(PAGE.block("python"), folder=tmp_path, environment={"PYTHONPATH": paths})
    registry = ModelRegistry(tmp_path / "models")
    recorded = asyncio.run(registry.get_model_metadata("hybrid_cnn_lstm", "1.2.0")).feature_set
    assert (recorded.name, len(recorded.feature_names)) == ("eurusd_hourly", 110)
    assert recorded.checked_on.startswith("6225 bars from 2017-01-01T22:00:00Z to 2017-12-29")
