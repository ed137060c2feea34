"""The report shows the values of the analysis for any experiment, and escapes every text."""

import re
import sys

import pytest

from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.definition import EndReason
from serve_app.experiments.history import HistoryEntry
from serve_app.experiments.store_errors import MissingPackageError
from tests.serve_app.experiments.degenerate import DEGENERATE, build
from tests.serve_app.experiments.factories import START
from tests.serve_app.experiments.report.pages import DAY, Page, document_of, number, render
from tests.serve_app.experiments.reported import CREATED, ended, running, simulate

pytestmark = pytest.mark.slow

HOSTILE = '<script>alert(1)</script><img src="https://evil.test/x" onerror=alert(2)>\'"&{{ 7 * 7 }}'

SCENARIOS = {
    "no_effect": ("waiting", "No verdict yet: let the experiment continue", 4),
    "win": ("good", "toy:1.1.0 is better: promote it", 4),
    "loss": ("bad", "toy:1.1.0 is worse than allowed: roll it back", 4),
    "mismatch": ("broken", "No verdict: the traffic was not split as intended", 4),
    "mirror": ("good", "toy:1.1.0 is better: promote it", 4),
    "one_variant": ("waiting", "No verdict yet: let the experiment continue", 3),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_verdict(name, request, rendered):
    """The report shows the verdict, its reasons and the plots."""
    experiment, blocks = request.getfixturevalue(name)
    tone, headline, plots = SCENARIOS[name]
    page = Page(rendered[name])
    document = experiment.final_report or document_of(experiment, blocks)
    assert ("section", {"class": f"verdict {tone}"}) in page.tags
    assert headline in page.text
    for reason in document["recommendation"]["reasons"]:
        assert reason in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) == plots
    assert not page.open, "every element is closed"


@pytest.mark.parametrize("name", SCENARIOS)
def test_key_figures(name, request, rendered):
    """The key figures are those of the analysis, rounded."""
    experiment, blocks = request.getfixturevalue(name)
    page = Page(rendered[name])
    document = experiment.final_report or document_of(experiment, blocks)
    shown = {
        "Predictions": ("samples", None, 0.0),
        "With known outcome": ("labelled", None, 0.0),
        "Accuracy": ("accuracy", "accuracy", 5e-5),
        "Win rate": ("win_rate", None, 5e-5),
        "Return per prediction": ("avg_return", "avg_return", 5e-7),
        "Profit and loss": ("total_pnl", None, 5e-5),
        "Sharpe ratio": ("sharpe_ratio", "sharpe_ratio", 5e-3),
        "Precision": ("precision", None, 5e-5),
        "Recall": ("recall", None, 5e-5),
        "F1 score": ("f1_score", None, 5e-5),
        "Average response time": ("avg_latency_ms", "latency_ms", 5e-3),
        "Slow responses (p95)": ("p95_latency_ms", None, 5e-3),
        "Failures": ("error_rate", "error_rate", 5e-5),
        "Predictions per second": ("throughput", None, 5e-3),
    }
    assert [cells[0] for cells in page.tables["figures"][1:]] == list(shown)
    for label, (field, improvement, rounding) in shown.items():
        _, control, treatment, difference, explanation = page.row("figures", label)
        assert explanation
        for variant, text in (("control", control), ("treatment", treatment)):
            if document[variant]["samples"] or field in ("samples", "labelled"):
                assert number(text) == pytest.approx(document[variant][field], abs=1.001 * rounding)
            else:
                assert text == "\N{EN DASH}"
        if improvement is None or not document["treatment"]["samples"]:
            assert not difference
        else:
            expected = document["improvement"][improvement]
            assert number(difference) == pytest.approx(expected, abs=1.001 * rounding)


@pytest.mark.parametrize("name", ["no_effect", "win", "loss", "mirror"])
def test_tests(name, request, rendered):
    """The table of tests shows the tests of the analysis."""
    experiment, blocks = request.getfixturevalue(name)
    page = Page(rendered[name])
    document = experiment.final_report or document_of(experiment, blocks)
    test = document["statistical_significance"]
    _, difference, interval, p_value, valid = page.row("tests", "Accuracy, always-valid")
    assert number(difference) == pytest.approx(test["difference"], abs=5.1e-5)
    low, high = (number(bound) for bound in interval.split(" to "))
    assert (low, high) == pytest.approx(test["interval"], abs=5.1e-5)
    assert float(p_value) == pytest.approx(test["p_value"], rel=0.06)
    assert valid.startswith(test["valid"])
    assert test["fixed_horizon"]["valid"] in page.row("tests", "Return, Welch")[4]
    assert test["assumptions"] in page.text
    assert document["annualisation"]["basis"] in page.text


def test_mismatched_split(rendered):
    """Figures of a mismatched split are marked as not reliable."""
    assert "not reliable" in Page(rendered["mismatch"]).text
    assert "not reliable" not in Page(rendered["win"]).text


def test_safety_checks(rendered):
    """A safety check states whether it passed or failed."""
    broken, held = Page(rendered["loss"]), Page(rendered["win"])
    assert (
        "Treatment is more than 1.00 ms slower" in broken.row("checks", "Average response time")[3]
    )
    assert "Treatment is at most 2.00 ms slower" in held.row("checks", "Average response time")[3]


def test_final_report(win):
    """An ended experiment shows its final report, and counts the outcomes that arrived later."""
    experiment, blocks = win
    kept = ended(running(), blocks[:400], EndReason.STOPPED, DAY / 4)
    page = Page(render(kept, blocks))
    final, present = kept.final_report, document_of(experiment, blocks)
    assert number(page.row("figures", "Predictions")[1]) == final["control"]["samples"]
    later = sum(
        present[variant]["labelled"] - final[variant]["labelled"]
        for variant in ("control", "treatment")
    )
    assert f"{later:,} outcomes arrived later" in page.text
    assert "It was stopped manually on 5 Jan 2026, 06:00 UTC, after 6 h." in page.text


def test_history(win):
    """The history labels its actions and shows the recorded reasons."""
    experiment, blocks = win
    history = [
        CREATED,
        HistoryEntry(
            time=START + DAY / 8, action="exposed", details={"share": 0.25, "before": 0.01}
        ),
        HistoryEntry(
            time=START + DAY / 2,
            action="promoted",
            details={"analysis": experiment.final_report, "by": "auto_apply"},
        ),
        HistoryEntry(time=START + DAY, action="reviewed", details={}),
    ]
    page = Page(render(experiment, blocks, history))
    rows = [[" ".join(cell.split()) for cell in row] for row in page.tables["history"][1:]]
    assert rows[0] == ["5 Jan 2026, 00:00 UTC", "Created"]
    assert rows[1][1].startswith("Treatment's share of the traffic changed share: 25%before: 1.0%")
    assert rows[2][1].startswith("Treatment promoted by: auto_apply")
    assert experiment.final_report["recommendation"]["reasons"][0] in rows[2][1]
    assert rows[3] == ["6 Jan 2026, 00:00 UTC", "Reviewed"]


def test_end_without_verdict(no_effect):
    """After an end without a verdict, control stays in use."""
    experiment, blocks = no_effect
    page = Page(render(ended(experiment, blocks, EndReason.DURATION, DAY), blocks))
    assert "No significant difference: toy:1.0.0 stays in use" in page.text
    assert "This is the analysis at the planned end" in page.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"control_traffic": 0.9, "treatment_traffic": 0.1},
            "Each request was assigned at random: 90%",
        ),
        ({"assignment": "unit_id"}, "Each bot was assigned to one version at random"),
        ({"assignment": "symbol"}, "Each symbol was assigned to one version at random"),
        (
            {"assignment": "switchback", "switchback_block_s": 5400},
            "Each symbol was assigned at random every 1 h 30 min",
        ),
        ({"mode": "mirror"}, "Every request was sent to both versions"),
        ({"exposure_steps": (0.1, 0.5)}, "grew in steps (10%, 50%) of at least 1 h"),
    ],
)
def test_assignment(changes, words):
    """The report describes how requests were assigned."""
    assert words in Page(render(running(**changes), [])).text


@pytest.mark.parametrize(
    "changes",
    [{}, {"mode": "mirror"}, {"assignment": "unit_id"}, {"min_accuracy_improvement": 0.0}],
)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name, changes):
    """A report is complete when an experiment has hardly any data."""
    experiment = running(**{"horizon_s": None, **changes})
    clock = BlockClock.of(experiment.definition, START)
    page = Page(render(experiment, build(DEGENERATE[name], clock), history=()))
    assert "No verdict" in page.text
    assert not page.open
    assert not re.search(r"\b(nan|inf|None)\b", page.text)


def test_switchback():
    """For a switchback no range of the share is drawn."""
    experiment = running(assignment="switchback", switchback_block_s=1800, horizon_s=600)
    blocks = simulate(experiment, 8, 1000, over=DAY)
    page = Page(render(experiment, blocks))
    assert "no range is drawn" in page.text


def test_hostile_text(win, rendered):
    """Text from outside is escaped: it adds no element and no handler."""
    experiment, blocks = win
    report = {
        **experiment.final_report,
        "recommendation": {"action": "promote", "reasons": [HOSTILE]},
    }
    hostile = type(experiment)(
        definition=experiment.definition.model_copy(update={"experiment_id": HOSTILE}),
        status=experiment.status,
        started_at=experiment.started_at,
        ended_at=experiment.ended_at,
        end_reason=experiment.end_reason,
        final_report=report,
    )
    details = {HOSTILE: HOSTILE, "symbols": [HOSTILE], "analysis": report}
    history = [HistoryEntry(time=START, action=HOSTILE, details=details)]
    usual, page = Page(rendered["win"]), Page(render(hostile, blocks, history))
    assert page.texts.count(HOSTILE) >= 2, "it is shown as it was written"
    assert {tag for tag, _ in page.tags} - {tag for tag, _ in usual.tags} == {
        "details",
        "summary",
        "pre",
    }
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


@pytest.mark.parametrize("name", SCENARIOS)
def test_self_contained(name, rendered):
    """The page loads nothing and runs no script."""
    html = rendered[name]
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base"}
    references = [
        value
        for _, attrs in page.tags
        for name, value in attrs.items()
        if name in ("src", "href", "xlink:href", "data", "action")
    ]
    references += re.findall(r"url\(([^)]*)\)", html)
    assert references
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {reference.removeprefix("#") for reference in references} <= ids
    assert all(reference.startswith("#") for reference in references)


def test_unique_ids(rendered):
    """No id occurs twice."""
    ids = [attrs["id"] for _, attrs in Page(rendered["win"]).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_deterministic(win, rendered):
    """The same experiment results in the same text, whatever the order of its blocks."""
    experiment, blocks = win
    assert rendered["win"] == render(experiment, blocks[::-1])


def test_matplotlib_settings(win):
    """Rendering leaves matplotlib's settings unchanged."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    render(*win)
    assert dict(mpl.rcParams) == before


def test_without_matplotlib(win, monkeypatch):
    """Without matplotlib the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"install tradeserve\[report\]"):
        render(*win)
