"""The page on datasets agrees with the code."""

import inspect
import os
import re

import pytest
from typer.main import get_command

from features.bar_log import BarLog
from features.datasets import Dataset
from features.datasets.folds import walk_forward
from features.datasets.manifest import SeriesManifest
from features.datasets.parquet_files import FEATURE, schema
from serve_app.cli import app
from testkit.feature_sets import HOURLY, random_bars, write_feature_set
from testkit.paths import ROOT
from testkit.snippets import page, run_python, run_shell

PAGE = page("docs/guides/datasets.md")


def names(rows):
    """Return the code in the first column."""
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[0])]


def test_options():
    """The table lists the options of the command, but for the output and the format."""
    command = get_command(app).commands["dataset"].commands["build"]
    options = {option.opts[0] for option in command.params} - {"--output", "--json", "--help"}
    assert set(names(PAGE.rows("Build"))) == options


def test_columns():
    """The table lists the columns of the file in their order."""
    columns = schema(["NAME"]).names
    assert columns[-1] == f"{FEATURE}NAME"
    assert names(PAGE.rows("The files")) == columns


def test_counts():
    """The counts of the table are in the manifest."""
    (_, counts) = PAGE.tables("What was known when")
    assert set(names(counts)) <= set(SeriesManifest.__dataclass_fields__)
    assert names(counts) == ["incomplete", "without_outcome"]


def test_arguments():
    """The table lists the arguments of a split."""
    for function in (Dataset.splits, walk_forward):
        documented = names(PAGE.rows("Train"))
        assert documented == [
            name for name in inspect.signature(function).parameters if name in documented
        ]
    assert set(documented) == set(inspect.signature(Dataset.splits).parameters) - {"self"}


@pytest.mark.slow
def test_snippets(tmp_path):
    """The commands build a dataset, and the Python snippet splits it."""
    module = "acme_guide_toy"
    write_feature_set(tmp_path / "site", module)
    source = tmp_path / "site" / f"{module}.py"
    source.write_text(source.read_text().replace("acme_toy", "eurusd_toy"))
    entries = tmp_path / "site/acme-2.1.dist-info/entry_points.txt"
    entries.write_text(entries.read_text().replace("acme_toy", "eurusd_toy"))
    (tmp_path / "models").mkdir()
    with BarLog(tmp_path / "models/.bars") as log:
        for seed, symbol in enumerate(("EURUSD", "GBPUSD")):
            bars = random_bars(900, seed)
            log.append(symbol, HOURLY, bars, int(bars.time[-1]) + HOURLY.length_ms)
    paths = os.pathsep.join([str(ROOT), str(tmp_path / "site")])
    commands = PAGE.blocks("bash")[0].replace("eurusd_hourly", "eurusd_toy")
    commands = re.sub(r"--from \S+ --to \S+", "", commands)
    shown = run_shell(commands, folder=tmp_path, environment={"PYTHONPATH": paths})
    assert shown.count("manifest sha256") == 2
    printed = run_python(
        PAGE.block("python"), folder=tmp_path, environment={"PYTHONPATH": paths}
    ).splitlines()
    assert len(printed) == 3
    assert all(line.endswith("(60, 2)") for line in printed)
