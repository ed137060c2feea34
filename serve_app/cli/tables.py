"""Tables of what the registry and the server return. Pure except for `show` and `show_json`."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from registry import ModelInfo
from registry.comparison import Comparison, MetricComparison
from registry.records import Finding, HistoryEntry

LOWER_IS_BETTER = ("loss", "error", "latency", "drawdown", "brier")
HIGHER_IS_BETTER = (
    *("accuracy", "precision", "recall", "f1", "auc", "hit_rate", "win_rate"),
    *("sharpe", "sortino", "calmar", "pnl", "profit", "return", "throughput"),
)
"""Words in the name of a metric that determine which of two values is better."""


class Verdict(StrEnum):
    """Whether a difference is an improvement."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNKNOWN = ""


STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red", Verdict.SAME: "", Verdict.UNKNOWN: ""}


def verdict(metric: str, diff: float | None) -> Verdict:
    """Return whether `diff`, second version minus first, improves this metric.

    >>> str(verdict("accuracy", 0.1)), str(verdict("error_rate", 0.1)), str(verdict("trades", 1.0))
    ('better', 'worse', '')
    """
    name = metric.lower()
    lower = any(word in name for word in LOWER_IS_BETTER)
    higher = any(word in name for word in HIGHER_IS_BETTER)
    if diff is None or not (lower or higher):
        return Verdict.UNKNOWN
    if diff == 0:
        return Verdict.SAME
    # In a name with words of both kinds, such as return_error, the error counts.
    return Verdict.BETTER if (diff < 0) == lower else Verdict.WORSE


def show(table: Table) -> None:
    """Print a table in the width of the terminal."""
    Console().print(table)


def show_json(value: object) -> None:
    """Print a value as JSON, for scripts."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def fields(info: ModelInfo) -> dict[str, object]:
    """Return the metadata and the path of a version, for JSON."""
    return {**info.metadata.model_dump(mode="json"), "path": str(info.path)}


def versions_table(versions: Sequence[ModelInfo]) -> Table:
    """Return one row per version."""
    table = Table("model", "version", "stage", "type", "MB", "metrics", "registered")
    for info in versions:
        metadata = info.metadata
        metrics = " ".join(f"{name}={value:.4g}" for name, value in metadata.metrics.items())
        table.add_row(
            metadata.name,
            metadata.version,
            metadata.stage,
            Text(metadata.model_type),
            f"{metadata.model_size_mb:.2f}",
            Text(metrics),
            metadata.created_at.strftime("%Y-%m-%d %H:%M"),
        )
    return table


def served_table(served: Sequence[Mapping[str, object]]) -> Table:
    """Return one row per version that a server lists."""
    has_notes = any(model.get("pending") or model.get("problem") for model in served)
    table = Table("model", "version", "stage", "loaded", *(["note"] if has_notes else []))
    for model in served:
        name, version, stage = (
            str(model.get(field, "-")) for field in ("name", "version", "stage")
        )
        loaded = "yes" if model.get("loaded") is True else "no"
        note = [Text(_load_note(model))] if has_notes else []
        table.add_row(Text(name), Text(version), Text(stage), loaded, *note)
    return table


def _load_note(model: Mapping[str, object]) -> str:
    """Return what is known of a load that has failed or is not complete."""
    problem = model.get("problem")
    if not model.get("pending"):
        return str(problem or "")
    reason = "the changed ones are loading" if problem is None else str(problem)
    return f"previous settings serve: {reason}"


def fields_table(metadata: Mapping[str, object]) -> Table:
    """Return one row per field."""
    table = Table(show_header=False)
    for field, value in metadata.items():
        table.add_row(field, Text(value if isinstance(value, str) else json.dumps(value)))
    return table


def feature_sets_table(found: Sequence[Mapping[str, object]]) -> Table:
    """Return one row per installed feature set."""
    table = Table("feature set", "version", "timeframe", "lookback", "features", "origin")
    for feature_set in found:
        fields = ("name", "version", "timeframe", "lookback", "features")
        origin = feature_set.get("problem", feature_set.get("origin"))
        row = [str(feature_set.get(field, "-")) for field in fields]
        table.add_row(*map(Text, [*row, str(origin)]))
    return table


def dataset_table(series: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per symbol of a dataset."""
    table = Table("symbol", "bars", "samples", "HOLD", "BUY", "SELL", "first day", "last day")
    for found in series:
        labels = found["labels"]
        counts = map(str, (found["bars"], found["samples"], *labels.values()))
        days = (str(found[name] or "-").partition("T")[0] for name in ("first", "last"))
        row = [found["symbol"], *counts, *days]
        table.add_row(*map(Text, row))
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Return one row per metric of two versions, and whether the second improves it."""
    table = Table("metric", title=comparison["model_name"])
    for heading in (comparison["version1"], comparison["version2"], "difference", "%"):
        table.add_column(heading, justify="right")
    table.add_column(f"{comparison['version2']} is")
    for name, metric in comparison["metrics_comparison"].items():
        _add_metric(table, name, metric)
    size = comparison["size_comparison"]
    table.add_section()
    table.add_row(
        "size (MB)",
        f"{size['v1_mb']:.2f}",
        f"{size['v2_mb']:.2f}",
        f"{size['diff_mb']:+.2f}",
    )
    return table


def history_table(name: str, entries: Sequence[HistoryEntry]) -> Table:
    """Return one row per change, oldest first."""
    table = Table(
        "time (UTC)", "version", "action", "from", "to", "replaced", "by", "reason", title=name
    )
    for entry in entries:
        table.add_row(
            entry.time.strftime("%Y-%m-%d %H:%M:%S"),
            entry.version,
            entry.action,
            entry.from_stage or "",
            entry.to_stage or "",
            entry.replaced or "",
            Text(entry.by),
            Text(entry.reason),
        )
    return table


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Return one row per finding."""
    table = Table("path", "problem", "remedy", title=title)
    for finding in findings:
        table.add_row(Text(finding.path), Text(finding.problem), Text(finding.remedy))
    return table


def _add_metric(table: Table, name: str, metric: MetricComparison) -> None:
    change = verdict(name, metric["diff"])
    table.add_row(
        Text(name),
        _number(metric["v1"]),
        _number(metric["v2"]),
        _number(metric["diff"], sign="+"),
        "" if metric["diff_pct"] is None else f"{metric['diff_pct']:+.1f}",
        Text(change, style=STYLES[change]),
    )


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4g}"


FIGURES = {
    "samples": "predictions",
    "labelled": "with an outcome",
    "accuracy": "accuracy",
    "f1_score": "F1",
    "win_rate": "win rate",
    "avg_return": "average return",
    "total_pnl": "total P&L",
    "sharpe_ratio": "Sharpe ratio",
    "avg_latency_ms": "latency, mean ms",
    "p95_latency_ms": "latency, p95 ms",
    "error_rate": "error rate",
}
"""The figures of a variant that the table shows: field of the analysis to label."""

UNIT_FIGURES = {
    "seen": "{}",
    "labelled": "{} with an outcome",
    "effective": "effective number of {}",
}
"""The figures of a variant's bots or symbols, shown if these are assigned as units."""


def experiments_table(experiments: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per experiment, in the order of the server's list."""
    table = Table("experiment", "status", "control", "treatment", "share", "ended")
    for experiment in experiments:
        table.add_row(
            Text(experiment["experiment_id"]),
            experiment["status"],
            Text(experiment["control"]),
            Text(experiment["treatment"]),
            f"{experiment['treatment_traffic']:.0%}",
            experiment["end_reason"] or "",
        )
    return table


def symbols_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per symbol and timeframe of which there are bars."""
    numbers = [Column(name, justify="right") for name in ("bars", "gaps", "missing", "age (h)")]
    table = Table("symbol", "timeframe", "first", "last", *numbers)
    for entry in entries:
        counts = [str(entry[name]) for name in ("count", "gaps", "missing")]
        texts = [Text(entry[name]) for name in ("symbol", "timeframe", "first", "last")]
        table.add_row(*texts, *counts, f"{entry['age_s'] / 3600:.1f}")
    return table


def tokens_table(tokens: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per token, oldest first."""
    table = Table("token", "roles", "state", "created", "expires")
    for token in tokens:
        table.add_row(
            Text(token["name"]),
            ", ".join(token["roles"]),
            token["state"],
            token["created_at"][:10],
            (token["expires_at"] or "never")[:10],
        )
    return table


def analysis_table(analysis: Mapping[str, Any]) -> Table:
    """Return the figures of both variants side by side."""
    control, treatment = analysis["control"], analysis["treatment"]
    variants = (f"control {control['model']}", f"treatment {treatment['model']}")
    table = Table("", *(Column(Text(variant)) for variant in variants))
    for name, label in FIGURES.items():
        table.add_row(label, *(_figure(variant.get(name)) for variant in (control, treatment)))
    units = analysis.get("units")
    if units:
        for name, label in UNIT_FIGURES.items():
            numbers = (_figure(units[variant][name]) for variant in ("control", "treatment"))
            table.add_row(label.format(units["served"]), *numbers)
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
