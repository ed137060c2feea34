"""The rows of the report's tables, from the analysis document."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.report import wording

Write = Callable[[Any], str]

LEADING = 2
"""Rows that count: of predictions, and of those with an outcome. What was assigned comes next."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A row: one figure of both variants."""

    name: str
    control: str
    treatment: str
    difference: str
    """Treatment minus control; empty where it says nothing, as the variants get unequal traffic."""
    explanation: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the differences that count, in large type."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """One of the safety checks."""

    name: str
    control: str
    treatment: str
    state: str
    """`fine`, `broken` or `open`, a class of the style sheet."""
    finding: str


@dataclass(frozen=True, slots=True)
class _Row:
    key: str
    name: str
    write: Write
    explanation: str
    improvement: str | None = None
    write_difference: Write = wording.signed_percent
    needs: str = "labelled"
    """The count without which the figure has no value."""


def figures(definition: ExperimentDefinition, document: Mapping[str, Any]) -> list[Figure]:
    """Return the key figures of both variants."""
    control, treatment = document["control"], document["treatment"]
    rows = []
    for row in _rows(definition, document):
        known = control[row.needs] and treatment[row.needs]
        difference = ""
        if row.improvement is not None and known:
            difference = row.write_difference(document["improvement"][row.improvement])
        texts = _text(row, control), _text(row, treatment)
        rows.append(Figure(row.name, *texts, difference, row.explanation))
    return rows[:LEADING] + _units(document) + rows[LEADING:]


def _units(document: Mapping[str, Any]) -> list[Figure]:
    """Return the numbers of bots or symbols, where these were assigned."""
    units = document.get("units")  # reports from before it have none
    if not units:
        return []
    variants, served = (units["control"], units["treatment"]), units["served"]
    rows = (
        ("seen", served.capitalize(), wording.count, "Those that the version answered."),
        (
            "labelled",
            f"{served.capitalize()} with known outcome",
            wording.count,
            "Those of them whose move of the market is known at least once.",
        ),
        (
            "effective",
            f"Equally busy {served}",
            wording.tenths,
            "How many equally busy ones these are worth. Where a few send most of the requests, "
            "the others hardly count.",
        ),
    )
    return [
        Figure(name, write(variants[0][key]), write(variants[1][key]), "", explanation)
        for key, name, write, explanation in rows
    ]


def _text(row: _Row, variant: Mapping[str, Any]) -> str:
    if row.key in ("samples", "labelled"):
        return wording.count(variant[row.key])
    return row.write(variant[row.key]) if variant[row.needs] else wording.NOTHING


def _rows(definition: ExperimentDefinition, document: Mapping[str, Any]) -> list[_Row]:
    yearly = document["annualisation"]["periods_per_year"] is not None
    band = wording.small_percent(definition.dead_band)
    hold = f"moved by {band} or less" if definition.dead_band else "did not move"
    return [
        _Row("samples", "Predictions", wording.count, "Requests answered, and those that failed."),
        _Row(
            "labelled",
            "With known outcome",
            wording.count,
            "Predictions of which the market's move is known by now; quality is measured on these.",
        ),
        _Row(
            "accuracy",
            "Accuracy",
            wording.percent,
            f"Share that was right: BUY when the market rose, SELL when it fell, HOLD when it "
            f"{hold}.",
            "accuracy",
        ),
        _Row(
            "win_rate",
            "Win rate",
            wording.percent,
            "Share of the BUYs and SELLs that earned something.",
        ),
        _Row(
            "avg_return",
            "Return per prediction",
            wording.small_percent,
            "Average profit in % of the stake, before costs; a HOLD earns nothing.",
            "avg_return",
            wording.signed_small_percent,
        ),
        _Row(
            "total_pnl",
            "Profit and loss",
            wording.percent,
            "Sum of all returns, in % of one stake, the same stake each time. More predictions "
            "make a larger sum: compare the line above instead.",
        ),
        _Row(
            "sharpe_ratio",
            "Sharpe ratio" if yearly else "Sharpe ratio, per prediction",
            wording.number if yearly else wording.small_number,
            "Return for each unit of risk; higher is better, below 0 is a loss."
            + (" Scaled to a year." if yearly else ""),
            "sharpe_ratio",
            wording.signed_number if yearly else wording.signed_small_number,
        ),
        _Row(
            "precision",
            "Precision",
            wording.percent,
            "How often a call (HOLD, BUY or SELL) was right, averaged over the three "
            "calls; one never made counts as 0.",
        ),
        _Row(
            "recall",
            "Recall",
            wording.percent,
            "How many of the market's moves were called, averaged over the "
            "three kinds; one that never came counts as 0.",
        ),
        _Row(
            "f1_score",
            "F1 score",
            wording.percent,
            "Precision and recall in one figure.",
        ),
        _Row(
            "avg_latency_ms",
            "Average time to answer",
            wording.milliseconds,
            "Of the requests answered, measured in the server.",
            "latency_ms",
            wording.signed_milliseconds,
            needs="samples",
        ),
        _Row(
            "p95_latency_ms",
            "Slow answers (p95)",
            wording.milliseconds,
            "95 of 100 answers came within this time.",
            needs="samples",
        ),
        _Row(
            "error_rate",
            "Failures",
            wording.percent,
            "Share of the requests that the version could not answer.",
            "error_rate",
            needs="samples",
        ),
        _Row(
            "throughput",
            "Predictions per second",
            wording.number,
            "Between the first and the last one.",
            needs="samples",
        ),
    ]


def tiles(definition: ExperimentDefinition, document: Mapping[str, Any]) -> list[Tile]:
    """Return the four differences that count: treatment minus control."""
    accuracy, returns = document["statistical_significance"], document["returns"]
    measured = accuracy["standard_error"] is not None
    latency, errors = (_guardrail(document, name) for name in ("latency_ms", "error_rate"))
    return [
        Tile(
            "Accuracy",
            wording.signed_percent(accuracy["difference"]) if measured else wording.NOTHING,
            _range(accuracy["interval"], 2)
            + f"; asked for: {wording.signed_percent(definition.min_accuracy_improvement)}",
        ),
        Tile(
            "Return per prediction",
            wording.signed_small_percent(returns["difference"]) if measured else wording.NOTHING,
            _range(returns["interval"], 4),
        ),
        Tile(
            "Time to answer",
            wording.signed_milliseconds(document["improvement"]["latency_ms"]),
            _worst(latency, wording.signed_milliseconds)
            + f"; allowed: {wording.signed_milliseconds(latency['limit'])}",
        ),
        Tile(
            "Failures",
            wording.signed_percent(document["improvement"]["error_rate"])
            if document["control"]["samples"] and document["treatment"]["samples"]
            else wording.NOTHING,
            _worst(errors, wording.signed_percent)
            + f"; allowed: {wording.signed_percent(definition.max_error_rate_increase)}",
        ),
    ]


def checks(definition: ExperimentDefinition, document: Mapping[str, Any]) -> list[Check]:
    """Return the safety checks: what is shown, and what is not known yet."""
    latency, errors = (_guardrail(document, name) for name in ("latency_ms", "error_rate"))
    allowed_ms = wording.milliseconds(latency["limit"])
    increase = wording.percent(definition.max_error_rate_increase)
    return [
        _check(
            definition,
            latency,
            "Average time to answer",
            wording.milliseconds,
            held=f"Shown to be at most {allowed_ms} slower.",
            broken=f"Shown to be more than {allowed_ms} slower.",
            unknown=f"Not known yet whether it is more than {allowed_ms} slower.",
        ),
        _check(
            definition,
            errors,
            "Failures",
            wording.percent,
            held=f"Shown to fail less than {increase} more of the requests.",
            broken=f"Shown to fail more than {errors['limit']:g} times as often.",
            unknown=f"Not known yet whether it fails {increase} more of the requests.",
        ),
    ]


def _check(
    definition: ExperimentDefinition,
    guardrail: Mapping[str, Any],
    name: str,
    write: Write,
    *,
    held: str,
    broken: str,
    unknown: str,
) -> Check:
    if guardrail["adjusted_harm_p_value"] <= definition.alpha / 2:
        seen = guardrail.get("shown_by")  # reports from before it have none
        late = seen is not None and seen["recent"]
        state, finding = "broken", f"During the last minute: {broken}" if late else broken
    elif guardrail["held"]:
        state, finding = "fine", held
    else:
        state, finding = "open", unknown
    return Check(name, write(guardrail["control"]), write(guardrail["treatment"]), state, finding)


def _guardrail(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(each for each in document["guardrails"] if each["name"] == name)


def _range(bounds: list[float] | None, digits: int) -> str:
    if bounds is None:
        return "too little seen to say how certain this is"
    return f"the truth lies between {wording.interval(bounds, digits).replace(' to ', ' and ')}"


def _worst(guardrail: Mapping[str, Any], write: Write) -> str:
    worst = guardrail["worst_case_difference"]
    return "worst case not known yet" if worst is None else f"at worst {write(worst)}"
