"""The report shows what the analysis says, whatever the experiment holds, and trusts no text."""

import re
import sys
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.definition import EndReason
from serve_app.experiments.history import HistoryEntry
from serve_app.experiments.report import render_report
from serve_app.experiments.report.course import MOST_MOMENTS, moments, profits
from serve_app.experiments.store_errors import MissingPackageError
from tests.serve_app.experiments.degenerate import DEGENERATE, build
from tests.serve_app.experiments.factories import START
from tests.serve_app.experiments.reported import CREATED, ended, running, simulate

NOW = START + timedelta(hours=13)
DAY = timedelta(days=1)
HOSTILE = '<script>alert(1)</script><img src="https://evil.test/x" onerror=alert(2)>\'"&{{ 7 * 7 }}'
VOID = {"meta", "br", "path", "rect", "use", "link", "img"}


class Page(HTMLParser):
    """The page's tables by id as rows of texts, its text, and every tag with its attributes."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.tags, self.texts, self.open = {}, [], [], []
        self._rows = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self._rows[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def row(self, table, name):
        (found,) = [cells for cells in self.tables[table] if cells[0].strip() == name]
        return found


def render(experiment, blocks, history=(CREATED,), **changes):
    return render_report(experiment, history, blocks, NOW, **changes)


def document_of(experiment, blocks):
    clock = BlockClock.of(experiment.definition, START)
    return analyse(experiment.definition, clock, blocks, status=experiment.status).document


def number(text):
    """The number that a cell shows, as a fraction where it is in per cent."""
    plain = text.replace("\N{MINUS SIGN}", "-").replace(",", "").replace(" ms", "")
    return float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)


@pytest.fixture(scope="module")
def no_effect():
    experiment = running(control_traffic=0.9, treatment_traffic=0.1)
    return experiment, simulate(experiment, 2, 4000)


@pytest.fixture(scope="module")
def win():
    experiment = running()
    blocks = simulate(experiment, 1, 4000, accuracy=(0.5, 0.7))
    return ended(experiment, blocks, EndReason.PROMOTED, DAY / 2), blocks


@pytest.fixture(scope="module")
def loss():
    experiment = running(
        exposure_steps=(0.1, 0.3, 0.5), auto_apply=True, max_latency_degradation_ms=1.0
    )
    blocks = simulate(
        experiment,
        3,
        4000,
        accuracy=(0.55, 0.4),
        latency_ms=(2.0, 5.0),
        error_rate=(0.001, 0.03),
        share=lambda part: (0.1, 0.3, 0.5)[int(3 * part)],
    )
    return ended(experiment, blocks, EndReason.ROLLED_BACK, DAY / 2), blocks


@pytest.fixture(scope="module")
def mismatch():
    experiment = running()
    return experiment, simulate(experiment, 4, 4000, accuracy=(0.5, 0.7), lost=(0.0, 0.2))


@pytest.fixture(scope="module")
def mirror():
    experiment = running(mode="mirror")
    blocks = simulate(experiment, 6, 2000, accuracy=(0.5, 0.6))
    return ended(experiment, blocks, EndReason.DURATION, DAY), blocks


@pytest.fixture(scope="module")
def one_variant():
    experiment = running(control_traffic=1.0, treatment_traffic=0.0)
    return experiment, simulate(experiment, 5, 300)


@pytest.fixture(scope="module")
def rendered(no_effect, win, loss, mismatch, mirror, one_variant):
    """The reports of all scenarios, each made once."""
    made = {
        "no_effect": no_effect,
        "win": win,
        "loss": loss,
        "mismatch": mismatch,
        "mirror": mirror,
        "one_variant": one_variant,
    }
    return {name: render(*scenario) for name, scenario in made.items()}


SCENARIOS = {
    "no_effect": ("waiting", "No verdict yet: let the experiment go on", 4),
    "win": ("good", "toy:1.1.0 is better: promote it", 4),
    "loss": ("bad", "toy:1.1.0 does harm: roll it back", 4),
    "mismatch": ("broken", "No verdict: the traffic was not split as intended", 4),
    "mirror": ("good", "toy:1.1.0 is better: promote it", 4),
    "one_variant": ("waiting", "No verdict yet: let the experiment go on", 3),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_verdict_its_reasons_and_the_plots_are_shown(name, request, rendered):
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
def test_the_figures_are_those_of_the_analysis(name, request, rendered):
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
        "Average time to answer": ("avg_latency_ms", "latency_ms", 5e-3),
        "Slow answers (p95)": ("p95_latency_ms", None, 5e-3),
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
def test_the_tests_are_those_of_the_analysis(name, request, rendered):
    experiment, blocks = request.getfixturevalue(name)
    page = Page(rendered[name])
    document = experiment.final_report or document_of(experiment, blocks)
    test = document["statistical_significance"]
    _, difference, interval, p_value, valid = page.row("tests", "Accuracy, always-valid")
    assert number(difference) == pytest.approx(test["difference"], abs=5.1e-5)
    low, high = (number(each) for each in interval.split(" to "))
    assert (low, high) == pytest.approx(test["interval"], abs=5.1e-5)
    assert float(p_value) == pytest.approx(test["p_value"], rel=0.06)
    assert valid.startswith(test["valid"])
    assert test["fixed_horizon"]["valid"] in page.row("tests", "Return, Welch")[4]
    assert test["assumptions"] in page.text
    assert document["annualisation"]["basis"] in page.text


@pytest.mark.parametrize("name", ["no_effect", "loss", "mirror"])
def test_the_last_moment_is_the_analysis_made_now(name, request):
    experiment, blocks = request.getfixturevalue(name)
    clock = BlockClock.of(experiment.definition, START)
    course = moments(experiment.definition, clock, blocks[::-1])
    document = document_of(experiment, blocks)
    test, ratio = document["statistical_significance"], document["sample_ratio"]
    assert 20 < len(course) <= MOST_MOMENTS
    assert [each.time for each in course] == sorted({each.time for each in course})
    assert course[-1].difference == test["difference"]
    assert list(course[-1].interval) == test["interval"]
    assert course[-1].treatment_share == ratio["observed"]["treatment"]
    assert course[-1].expected_share == ratio["expected"]["treatment"]


@pytest.mark.parametrize("name", ["no_effect", "loss", "mirror"])
def test_profits_end_at_the_variants_totals(name, request):
    experiment, blocks = request.getfixturevalue(name)
    document = document_of(experiment, blocks)
    for variant, profit in zip(("control", "treatment"), profits(START, blocks), strict=True):
        assert (profit.total[0], profit.labelled[0]) == (0.0, 0.0)
        assert profit.total[-1] == pytest.approx(document[variant]["total_pnl"], rel=1e-12)
        assert profit.labelled[-1] == document[variant]["labelled"]


def test_the_band_of_the_sample_ratio_is_left_exactly_when_the_alarm_sounds(no_effect, mismatch):
    for experiment, blocks in (no_effect, mismatch):
        clock = BlockClock.of(experiment.definition, START)
        last = moments(experiment.definition, clock, blocks)[-1]
        inside = abs(last.treatment_share - last.expected_share) <= last.share_slack
        assert inside == document_of(experiment, blocks)["sample_ratio"]["healthy"]


def test_figures_of_a_mismatched_split_are_marked_as_not_to_be_trusted(rendered):
    assert "not to be trusted" in Page(rendered["mismatch"]).text
    assert "not to be trusted" not in Page(rendered["win"]).text


def test_a_broken_safety_check_says_so(rendered):
    broken, held = Page(rendered["loss"]), Page(rendered["win"])
    assert (
        "Shown to be more than 1.00 ms slower" in broken.row("checks", "Average time to answer")[3]
    )
    assert "Shown to be at most 2.00 ms slower" in held.row("checks", "Average time to answer")[3]


def test_an_ended_experiment_shows_the_report_kept_at_its_end_and_counts_what_came_later(win):
    experiment, blocks = win
    kept = ended(running(), blocks[:400], EndReason.STOPPED, DAY / 4)
    page = Page(render(kept, blocks))
    final, present = kept.final_report, document_of(experiment, blocks)
    assert number(page.row("figures", "Predictions")[1]) == final["control"]["samples"]
    later = sum(
        present[variant]["labelled"] - final[variant]["labelled"]
        for variant in ("control", "treatment")
    )
    assert f"{later:,} outcomes came in later" in page.text
    assert "It was stopped by hand on 5 Jan 2026, 06:00 UTC, after 6 h." in page.text


def test_the_history_is_told_in_words_and_with_the_reasons_noted(win):
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
        HistoryEntry(time=START + DAY, action="looked_at", details={}),
    ]
    page = Page(render(experiment, blocks, history))
    rows = [[" ".join(cell.split()) for cell in row] for row in page.tables["history"][1:]]
    assert rows[0] == ["5 Jan 2026, 00:00 UTC", "Created"]
    assert rows[1][1].startswith("Treatment's share of the traffic changed share: 25%before: 1.0%")
    assert rows[2][1].startswith("Treatment promoted by: auto_apply")
    assert experiment.final_report["recommendation"]["reasons"][0] in rows[2][1]
    assert rows[3] == ["6 Jan 2026, 00:00 UTC", "Looked at"]


def test_an_end_without_a_verdict_leaves_control(no_effect):
    experiment, blocks = no_effect
    page = Page(render(ended(experiment, blocks, EndReason.DURATION, DAY), blocks))
    assert "No winner was found: toy:1.0.0 stays" in page.text
    assert "This is the one analysis at the planned end" in page.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"control_traffic": 0.9, "treatment_traffic": 0.1},
            "For each request a lot was drawn: 90%",
        ),
        ({"assignment": "unit_id"}, "For each bot a lot was drawn once"),
        ({"assignment": "symbol"}, "For each symbol a lot was drawn once"),
        (
            {"assignment": "switchback", "switchback_block_s": 5400},
            "For each symbol a new lot was drawn every 1 h 30 min",
        ),
        ({"mode": "mirror"}, "Every request went to both versions"),
        ({"exposure_steps": (0.1, 0.5)}, "grew in steps (10%, 50%), each at least 1 h long"),
    ],
)
def test_how_the_traffic_was_split_is_said_in_words(changes, words):
    assert words in Page(render(running(**changes), [])).text


@pytest.mark.parametrize(
    "changes",
    [{}, {"mode": "mirror"}, {"assignment": "unit_id"}, {"min_accuracy_improvement": 0.0}],
)
@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_experiment_is_reported(name, changes):
    experiment = running(**{"horizon_s": None, **changes})
    clock = BlockClock.of(experiment.definition, START)
    page = Page(render(experiment, build(DEGENERATE[name], clock), history=()))
    assert "No verdict" in page.text
    assert not page.open
    assert not re.search(r"\b(nan|inf|None)\b", page.text)


def test_a_switchback_is_reported():
    experiment = running(assignment="switchback", switchback_block_s=1800, horizon_s=600)
    blocks = simulate(experiment, 8, 1000, over=DAY)
    page = Page(render(experiment, blocks))
    assert "no range is drawn" in page.text


def test_text_from_outside_is_only_text(win):
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
    usual, page = Page(render(experiment, blocks)), Page(render(hostile, blocks, history))
    assert page.texts.count(HOSTILE) >= 2, "it is shown as it was written"
    assert {tag for tag, _ in page.tags} - {tag for tag, _ in usual.tags} == {
        "details",
        "summary",
        "pre",
    }
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_loaded_and_nothing_runs(name, rendered):
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
    assert {each.removeprefix("#") for each in references} <= ids
    assert all(each.startswith("#") for each in references)


def test_no_id_is_used_twice(rendered):
    ids = [attrs["id"] for _, attrs in Page(rendered["win"]).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_the_same_experiment_gives_the_same_text(win, rendered):
    experiment, blocks = win
    assert rendered["win"] == render(experiment, blocks[::-1])


def test_matplotlibs_settings_are_left_alone(win):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    render(*win)
    assert dict(mpl.rcParams) == before


def test_without_matplotlib_the_error_names_the_remedy(win, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"install tradeserve\[report\]"):
        render(*win)
