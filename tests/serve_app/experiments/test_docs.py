"""The snippet and the numbers of docs/experiments.md are true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.experiments.power import samples_for_verdict
from serve_app.experiments.store import ExperimentStore
from tests.serve_app.experiments.factories import START, definition

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "experiments.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_snippet_runs_and_finds_both_differences():
    code, _ = SNIPPETS
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    p_values = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(p_values) == 2
    assert max(p_values) < 0.05


def test_the_snippet_of_the_report_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ExperimentStore("sqlite:///experiments.db") as store:
        store.create_experiment(definition(), START)
    _, code = SNIPPETS
    exec(compile(code, "experiments.md", "exec"), {})
    page = (tmp_path / "v1_vs_v2.html").read_text(encoding="utf-8")
    assert "No verdict yet: let the experiment go on" in page


def test_the_table_of_sizes_is_what_the_function_says():
    rows = re.findall(r"\| (\d+) points \| ([\d,]+) \| ([\d,]+) \|", TEXT)
    assert len(rows) == 5
    for points, each, both in rows:
        needed = samples_for_verdict(definition(), int(points) / 100)
        assert int(each.replace(",", "")) == pytest.approx(needed, rel=0.02)
        assert int(both.replace(",", "")) == pytest.approx(needed / (2 * 0.9 * 0.1), rel=0.02)
