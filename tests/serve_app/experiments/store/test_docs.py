"""docs/guides/experiments-storage.md.

Its snippet runs as it stands, and its tables are the real ones.
"""

import re
import subprocess
import sys

from serve_app.experiments.store.export import COLUMNS
from serve_app.experiments.store.schema import METADATA
from testkit.paths import ROOT

DOCUMENT = (ROOT / "docs" / "guides" / "experiments-storage.md").read_text()


def test_the_snippet_stores_an_outcome(tmp_path):
    code = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["OutcomeResult.ACCEPTED", "1 0.0011"]


def test_every_table_and_column_is_in_the_document():
    for table in METADATA.tables.values():
        (row,) = re.findall(rf"^\| `{table.name}` \|.*$", DOCUMENT, flags=re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) >= {column.name for column in table.columns}


def test_every_column_of_an_export_is_in_the_document():
    section = DOCUMENT[DOCUMENT.index("## Export") :]
    first_cells = re.findall(r"^\| (`[^|]*) \|", section, flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(first_cells)) == list(COLUMNS)
