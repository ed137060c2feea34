"""The texts of reports on experiments by bot or symbol, and of other special cases."""

import numpy as np
import pytest

from serve_app.experiments.definition import EndReason
from serve_app.experiments.statistics.unit_moments import MEASURES
from tests.serve_app.experiments.report.pages import DAY, Page, render
from tests.serve_app.experiments.reported import ended, running, simulate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("assignment", "served"), [("unit_id", "bots"), ("symbol", "symbols")])
def test_units_named(assignment, served):
    """A report by bot or symbol speaks of bots or symbols."""
    experiment = running(assignment=assignment)
    text = Page(render(experiment, simulate(experiment, 1, 1500, bots=40))).text
    assert f"Each version served different {served}" in text
    assert f"The plot counts {served} instead of requests, each once" in text
    assert f"computed over {served} and includes their differences" in text
    assert "usually required to detect the required improvement" not in text


def test_too_few_units():
    """Too few bots are reported with the number required."""
    experiment = running(assignment="unit_id")
    text = Page(render(experiment, simulate(experiment, 1, 1500, bots=6))).text
    assert "Too few bots: control has " in text
    assert "5 required for a verdict on quality" in text
    assert "too few outcomes, or too few bots, to compute a confidence interval" in text


def test_verdict_by_unit():
    """A verdict by bot is reported with the counts of bots."""
    experiment = running(assignment="unit_id")
    blocks = simulate(experiment, 2, 6000, accuracy=(0.5, 0.75), bots=60)
    page = Page(render(experiment, blocks))
    assert "toy:1.1.0 is better: promote it" in page.text
    seen = page.row("figures", "Bots")
    assert int(seen[1]) + int(seen[2]) == 60
    assert page.row("figures", "Bots with known outcome")[1] == seen[1]
    assert float(page.row("figures", "Effective number of bots")[1]) == pytest.approx(
        int(seen[1]), 0.1
    )
    assert page.row("tests", "Accuracy, t over bots")
    assert "Treatment's share of the bots over time" in str(page.tags)


def test_missing_outcomes():
    """Missing outcomes of one version are reported as a fault, not as a reason to wait."""
    experiment = running(assignment="unit_id")
    blocks = simulate(experiment, 2, 6000, accuracy=(0.5, 0.75), bots=60)
    left = np.repeat([1.0, 0.5], MEASURES)
    for units in (block.units for block in blocks if block.units is not None):
        units.sums *= left
        units.products *= np.outer(left, left)
    text = Page(render(experiment, blocks)).text
    assert "No verdict: outcomes of one version are missing" in text
    assert "let the experiment continue" not in text


def test_interval_at_planned_end():
    """Only by request the interval at the planned end is narrower."""
    found = []
    for assignment in ("request", "unit_id"):
        experiment = running(assignment=assignment)
        blocks = simulate(experiment, 1, 1500, over=DAY, bots=40)
        text = Page(render(ended(experiment, blocks, EndReason.DURATION, DAY), blocks)).text
        found.append("whose interval is narrower than those before" in text)
    assert found == [True, False]


def test_mirror():
    """In mirror mode the report says that both versions received every request."""
    experiment = running(mode="mirror")
    text = Page(render(experiment, simulate(experiment, 1, 500))).text
    assert "Every request was sent to both versions, so that each should have half" in text
    assert "both variants must have received every request" in text


def test_required_outcomes():
    """The number of outcomes usually required is shown only while there is no verdict."""
    experiment = running()
    waiting = Page(render(experiment, simulate(experiment, 1, 500))).text
    assert "usually required to detect the required improvement" in waiting
    blocks = simulate(experiment, 2, 6000, accuracy=(0.5, 0.65), over=DAY)
    won = ended(experiment, blocks, EndReason.DURATION, DAY)
    assert won.final_report["recommendation"]["action"] == "promote"
    page = Page(render(won, blocks)).text
    assert "usually required to detect the required improvement" not in page
    assert "p below 0.0001" in page
