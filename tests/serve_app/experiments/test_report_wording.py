"""What a report says where the usual words would mislead."""

import pytest

from serve_app.experiments.definition import EndReason
from tests.serve_app.experiments.reported import ended, running, simulate
from tests.serve_app.experiments.test_report import DAY, Page, render


@pytest.mark.parametrize(("assignment", "served"), [("unit_id", "bots"), ("symbol", "symbols")])
def test_by_unit_it_promises_no_verdict_on_accuracy(assignment, served):
    experiment = running(assignment=assignment)
    text = Page(render(experiment, simulate(experiment, 1, 1500))).text
    assert "No verdict on accuracy is possible here" in text
    assert f"The two versions served different {served}" in text
    assert "chance is only ruled out by more predictions" not in text
    assert "usually needed to prove the improvement" not in text
    assert "basis of the verdict" not in text
    assert "whether requests were lost is not checked" in text


def test_mirrored_requests_are_said_to_go_to_both():
    experiment = running(mode="mirror")
    text = Page(render(experiment, simulate(experiment, 1, 500))).text
    assert "Every request went to both versions, so that each should have half" in text
    assert "both arms must have seen every request" in text


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
