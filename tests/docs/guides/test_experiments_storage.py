"""The snippet and the tables of the guide to the experiment store agree with the code."""

import re

from serve_app.experiments.store.export import COLUMNS
from serve_app.experiments.store.schema import METADATA
from testkit.paths import ROOT
from testkit.snippets import page, run_python

PAGE = page("docs/guides/experiments-storage.md")


def test_snippet_stores_outcome(tmp_path):
    """The first Python snippet stores an outcome and reads it back."""
    code = PAGE.blocks("python")[0]
    printed = run_python(code, folder=tmp_path, environment={"PYTHONPATH": str(ROOT)})
    assert printed.splitlines() == ["OutcomeResult.ACCEPTED", "1 0.0011"]


def test_tables_and_columns_listed():
    """The page lists every table of the database with all of its columns."""
    rows = {row[0]: " ".join(row) for row in PAGE.rows()}
    for table in METADATA.tables.values():
        listed = set(re.findall(r"`(\w+)`", rows[f"`{table.name}`"]))
        assert listed >= {column.name for column in table.columns}


def test_export_columns_listed():
    """The page lists the columns of an export in their order."""
    first_cells = " ".join(row[0] for row in PAGE.rows("Export"))
    assert re.findall(r"`(\w+)`", first_cells) == list(COLUMNS)
