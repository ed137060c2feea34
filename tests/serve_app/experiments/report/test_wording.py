"""What a report says where the usual words would mislead."""

import numpy as np
import pytest

from serve_app.experiments.definition import EndReason
from serve_app.experiments.statistics.unit_moments import MEASURES
from tests.serve_app.experiments.report.test_page import DAY, Page, render
from tests.serve_app.experiments.reported import ended, running, simulate


@pytest.mark.parametrize(("assignment", "served"), [("unit_id", "bots"), ("symbol", "symbols")])
def test_by_unit_it_speaks_of_units(assignment, served):
    experiment = running(assignment=assignment)
    text = Page(render(experiment, simulate(experiment, 1, 1500, bots=40))).text
    assert f"Each version served {served} of its own" in text
    assert f"Counted are the {served}, each once" in text
    assert f"computed over {served} and includes their differences" in text
    assert "usually needed to prove the improvement" not in text


def test_by_unit_too_few_are_told_with_what_is_needed():
    experiment = running(assignment="unit_id")
    text = Page(render(experiment, simulate(experiment, 1, 1500, bots=6))).text
    assert "Too few bots: control has " in text
    assert "5 needed for any verdict on quality" in text
    assert "too few outcomes, or too few bots, to say how certain" in text


def test_by_unit_a_verdict_is_told_as_any_other():
    experiment = running(assignment="unit_id")
    blocks = simulate(experiment, 2, 6000, accuracy=(0.5, 0.75), bots=60)
    page = Page(render(experiment, blocks))
    assert "toy:1.1.0 is better: promote it" in page.text
    seen = page.row("figures", "Bots")
    assert int(seen[1]) + int(seen[2]) == 60
    assert page.row("figures", "Bots with known outcome")[1] == seen[1]
    assert float(page.row("figures", "Equally busy bots")[1]) == pytest.approx(int(seen[1]), 0.1)
    assert page.row("tests", "Accuracy, t over bots")
    assert "Treatment's share of the bots over time" in str(page.tags)


def test_by_unit_lost_outcomes_are_no_reason_to_wait_on():
    experiment = running(assignment="unit_id")
    blocks = simulate(experiment, 2, 6000, accuracy=(0.5, 0.75), bots=60)
    left = np.repeat([1.0, 0.5], MEASURES)
    for units in (block.units for block in blocks if block.units is not None):
        units.sums *= left
        units.products *= np.outer(left, left)
    text = Page(render(experiment, blocks)).text
    assert "No verdict: one version lacks outcomes" in text
    assert "let the experiment go on" not in text


def test_by_unit_the_range_at_the_planned_end_is_not_called_narrower():
    found = []
    for assignment in ("request", "unit_id"):
        experiment = running(assignment=assignment)
        blocks = simulate(experiment, 1, 1500, over=DAY, bots=40)
        text = Page(render(ended(experiment, blocks, EndReason.DURATION, DAY), blocks)).text
        found.append("whose range is narrower than those before" in text)
    assert found == [True, False]


def test_mirrored_requests_are_said_to_go_to_both():
    experiment = running(mode="mirror")
    text = Page(render(experiment, simulate(experiment, 1, 500))).text
    assert "Every request went to both versions, so that each should have half" in text
    assert "both variants must have received every request" in text


def test_what_a_verdict_would_need_is_not_told_once_there_is_one():
    experiment = running()
    waiting = Page(render(experiment, simulate(experiment, 1, 500))).text
    assert "usually needed to prove the improvement" in waiting
    blocks = simulate(experiment, 2, 6000, accuracy=(0.5, 0.65), over=DAY)
    won = ended(experiment, blocks, EndReason.DURATION, DAY)
    assert won.final_report["recommendation"]["action"] == "promote"
    page = Page(render(won, blocks)).text
    assert "usually needed to prove the improvement" not in page
    assert "p below 0.0001" in page
