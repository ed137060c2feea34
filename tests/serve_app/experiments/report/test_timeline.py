"""The timeline of an experiment ends with the analysis made now."""

import pytest

from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.report.timeline import MOST_MOMENTS, moments, profits
from tests.serve_app.experiments.factories import START
from tests.serve_app.experiments.report.pages import document_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["no_effect", "loss", "mirror"])
def test_last_moment(name, request):
    """The last moment has the values of the analysis made now."""
    experiment, blocks = request.getfixturevalue(name)
    clock = BlockClock.of(experiment.definition, START)
    timeline = moments(experiment.definition, clock, blocks[::-1])
    document = document_of(experiment, blocks)
    test, ratio = document["statistical_significance"], document["sample_ratio"]
    assert 20 < len(timeline) <= MOST_MOMENTS
    times = [moment.time for moment in timeline]
    assert times == sorted(set(times))
    assert timeline[-1].difference == test["difference"]
    assert list(timeline[-1].interval) == test["interval"]
    assert timeline[-1].treatment_share == ratio["observed"]["treatment"]
    assert timeline[-1].expected_share == ratio["expected"]["treatment"]


@pytest.mark.parametrize("name", ["no_effect", "loss", "mirror"])
def test_profits(name, request):
    """The cumulative returns end at the totals of the variants."""
    experiment, blocks = request.getfixturevalue(name)
    document = document_of(experiment, blocks)
    for variant, profit in zip(("control", "treatment"), profits(START, blocks), strict=True):
        assert (profit.total[0], profit.labelled[0]) == (0.0, 0.0)
        assert profit.total[-1] == pytest.approx(document[variant]["total_pnl"], rel=1e-12)
        assert profit.labelled[-1] == document[variant]["labelled"]


def test_share_slack(no_effect, mismatch):
    """The share leaves its range exactly when the check of the sample ratio fails."""
    for experiment, blocks in (no_effect, mismatch):
        clock = BlockClock.of(experiment.definition, START)
        last = moments(experiment.definition, clock, blocks)[-1]
        inside = abs(last.treatment_share - last.expected_share) <= last.share_slack
        assert inside == document_of(experiment, blocks)["sample_ratio"]["healthy"]
