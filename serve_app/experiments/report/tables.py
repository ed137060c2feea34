"""The tiles and the table rows of the report, from the document of the analysis."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.report import wording

Write = Callable[[Any], str]

LEADING_COUNTS = 2
"""The number of leading rows that are counts; the counts of bots or symbols follow them."""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A row of the table of key figures: one figure for both variants."""

    name: str
    control: str
    treatment: str
    difference: str
    """Treatment minus control; empty where unequal traffic makes it meaningless."""
    explanation: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A main difference, shown in large type."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the table of safety checks."""

    name: str
    control: str
    treatment: str
    state: str
    """The state, a class of the style sheet: `fine`, `broken` or `open`."""
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
    """The count that must be above 0 for the figure to have a value."""


def key_figures(definition: ExperimentDefinition, document: Mapping[str, Any]) -> list[KeyFigure]:
    """Return the rows of the table of key figures."""
    control, treatment = document["control"], document["treatment"]
    rows = []
    for row in _rows(definition, document):
        known = control[row.needs] and treatment[row.needs]
        difference = ""
        if row.improvement is not None and known:
            difference = row.write_difference(document["improvement"][row.improvement])
        texts = _text(row, control), _text(row, treatment)
        rows.append(KeyFigure(row.name, *texts, difference, row.explanation))
    return rows[:LEADING_COUNTS] + _units(document) + rows[LEADING_COUNTS:]


def _units(document: Mapping[str, Any]) -> list[KeyFigure]:
    """Return the counts of bots or symbols, if these were assigned."""
    units = document.get("units")  # absent from reports of earlier releases
    if not units:
        return []
    variants, served = (units["control"], units["treatment"]), units["served"]
    rows = (
        (
            "seen",
            served.capitalize(),
            wording.count,
            f"{served.capitalize()} for which the version served requests.",
        ),
        (
            "labelled",
            f"{served.capitalize()} with known outcome",
            wording.count,
            f"{served.capitalize()} with at least one prediction whose outcome is known.",
        ),
        (
            "effective",
            f"Effective number of {served}",
            wording.tenths,
            f"The number of equally active {served} that would give the same amount of "
            f"information. If a few account for most of the requests, the others add little.",
        ),
    )
    return [
        KeyFigure(name, write(variants[0][key]), write(variants[1][key]), "", explanation)
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
        _Row(
            "samples",
            "Predictions",
            wording.count,
            "Requests that the version answered or failed to answer.",
        ),
        _Row(
            "labelled",
            "With known outcome",
            wording.count,
            "Predictions for which the market's move is known; quality is measured on these.",
        ),
        _Row(
            "accuracy",
            "Accuracy",
            wording.percent,
            f"Share of correct predictions: BUY when the market rose, SELL when it fell, HOLD when "
            f"it {hold}.",
            "accuracy",
        ),
        _Row(
            "win_rate",
            "Win rate",
            wording.percent,
            "Share of BUYs and SELLs that made a profit.",
        ),
        _Row(
            "avg_return",
            "Return per prediction",
            wording.small_percent,
            "Average profit in % of the stake, before costs; a HOLD earns 0.",
            "avg_return",
            wording.signed_small_percent,
        ),
        _Row(
            "total_pnl",
            "Profit and loss",
            wording.percent,
            "Sum of all returns in % of one stake, with the same stake for every prediction. It "
            "grows with the number of predictions: compare the return per prediction instead.",
        ),
        _Row(
            "sharpe_ratio",
            "Sharpe ratio" if yearly else "Sharpe ratio, per prediction",
            wording.number if yearly else wording.small_number,
            "Return per unit of risk; higher is better, below 0 is a loss."
            + (" Annualised." if yearly else ""),
            "sharpe_ratio",
            wording.signed_number if yearly else wording.signed_small_number,
        ),
        _Row(
            "precision",
            "Precision",
            wording.percent,
            "Share of correct predictions among those of a direction (HOLD, BUY or SELL), averaged "
            "over the three directions; a direction that was never predicted counts as 0.",
        ),
        _Row(
            "recall",
            "Recall",
            wording.percent,
            "Share of the market's moves in a direction that were predicted, averaged over the "
            "three directions; a move that never occurred counts as 0.",
        ),
        _Row(
            "f1_score",
            "F1 score",
            wording.percent,
            "Precision and recall combined in one figure.",
        ),
        _Row(
            "avg_latency_ms",
            "Average response time",
            wording.milliseconds,
            "Average over the answered requests, measured in the server.",
            "latency_ms",
            wording.signed_milliseconds,
            needs="samples",
        ),
        _Row(
            "p95_latency_ms",
            "Slow responses (p95)",
            wording.milliseconds,
            "95% of the responses took at most this long.",
            needs="samples",
        ),
        _Row(
            "error_rate",
            "Failures",
            wording.percent,
            "Share of the requests that the version failed to answer.",
            "error_rate",
            needs="samples",
        ),
        _Row(
            "throughput",
            "Predictions per second",
            wording.number,
            "Average rate between the first and the last prediction.",
            needs="samples",
        ),
    ]


def tiles(definition: ExperimentDefinition, document: Mapping[str, Any]) -> list[Tile]:
    """Return the four main differences, treatment minus control."""
    accuracy, returns = document["statistical_significance"], document["returns"]
    measured = accuracy["standard_error"] is not None
    latency, errors = (_guardrail(document, name) for name in ("latency_ms", "error_rate"))
    return [
        Tile(
            "Accuracy",
            wording.signed_percent(accuracy["difference"]) if measured else wording.NOTHING,
            _range(accuracy["interval"], 2)
            + f"; required: {wording.signed_percent(definition.min_accuracy_improvement)}",
        ),
        Tile(
            "Return per prediction",
            wording.signed_small_percent(returns["difference"]) if measured else wording.NOTHING,
            _range(returns["interval"], 4),
        ),
        Tile(
            "Response time",
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
    """Return the rows of the table of safety checks."""
    latency, errors = (_guardrail(document, name) for name in ("latency_ms", "error_rate"))
    allowed_ms = wording.milliseconds(latency["limit"])
    increase = wording.percent(definition.max_error_rate_increase)
    return [
        _check(
            definition,
            latency,
            "Average response time",
            wording.milliseconds,
            held=f"Treatment is at most {allowed_ms} slower.",
            broken=f"Treatment is more than {allowed_ms} slower.",
            unknown=f"Not yet known whether treatment is more than {allowed_ms} slower.",
        ),
        _check(
            definition,
            errors,
            "Failures",
            wording.percent,
            held=f"Treatment's failure rate is less than {increase} above control's.",
            broken=f"Treatment fails more than {errors['limit']:g} times as often as control.",
            unknown=f"Not yet known whether its failure rate is {increase} above control's.",
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
        seen = guardrail.get("shown_by")  # absent from reports of earlier releases
        late = seen is not None and seen["recent"]
        state, finding = "broken", f"In the last minute: {broken}" if late else broken
    elif guardrail["held"]:
        state, finding = "fine", held
    else:
        state, finding = "open", unknown
    return Check(name, write(guardrail["control"]), write(guardrail["treatment"]), state, finding)


def _guardrail(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(guardrail for guardrail in document["guardrails"] if guardrail["name"] == name)


def _range(bounds: list[float] | None, digits: int) -> str:
    if bounds is None:
        return "not enough data for a confidence interval"
    return f"confidence interval: {wording.interval(bounds, digits)}"


def _worst(guardrail: Mapping[str, Any], write: Write) -> str:
    worst = guardrail["worst_case_difference"]
    return "worst case not yet known" if worst is None else f"at worst {write(worst)}"
