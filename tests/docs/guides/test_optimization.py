"""The snippet of the guide to optimisation runs as it stands."""

import pytest

from testkit.snippets import page, run_python

pytestmark = pytest.mark.slow

PAGE = page("docs/guides/optimization.md")


def test_snippet_runs(tmp_path):
    """The snippet exports a verified file and prints its results."""
    first, _, last = run_python(PAGE.block("python"), folder=tmp_path).splitlines()
    assert first.startswith("True {")
    assert last.startswith("True ")
    assert (tmp_path / "optimised" / "model.onnx").exists()
