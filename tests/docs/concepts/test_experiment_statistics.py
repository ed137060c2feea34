"""The snippet and the numbers of the page on the statistics of experiments agree with the code."""

import re

import pytest

from serve_app.experiments.power import samples_for_verdict, units_for_verdict
from testkit.snippets import page, run_python
from tests.serve_app.experiments.factories import definition

PAGE = page("docs/concepts/experiment-statistics.md")


def test_snippet_finds_both_differences():
    """The analysis of the Python snippet finds two significant differences."""
    printed = run_python(PAGE.block("python", "Use from Python"))
    p_values = [float(line.split()[-1]) for line in printed.splitlines()]
    assert len(p_values) == 2
    assert max(p_values) < 0.05


def test_samples_table():
    """The sizes in the table are those of `samples_for_verdict`."""
    found = re.findall(r"\| (\d+) points \| ([\d,]+) \| ([\d,]+) \|$", PAGE.text, re.MULTILINE)
    assert len(found) == 5
    for points, each, both in found:
        needed = samples_for_verdict(definition(), int(points) / 100)
        assert int(each.replace(",", "")) == pytest.approx(needed, rel=0.02)
        assert int(both.replace(",", "")) == pytest.approx(needed / (2 * 0.9 * 0.1), rel=0.02)


def test_units_table():
    """The numbers of units in the table are those of `units_for_verdict`."""
    found = re.findall(r"\| (\d+) points \|((?: [\d,]+ \|){4})$", PAGE.text, re.MULTILINE)
    assert len(found) == 4
    for points, cells in found:
        listed = [int(size.replace(",", "")) for size in cells.split("|")[:-1]]
        needed = [
            units_for_verdict(
                definition(), int(points) / 100, unit_deviation=deviation, outcomes_each=outcomes
            )
            for deviation, outcomes in ((0.0, 100), (0.05, 100), (0.1, 100), (0.1, 1000))
        ]
        assert listed == needed
