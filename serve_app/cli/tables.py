"""What people see: tables of the registry's and the server's answers. Pure but for `show`."""

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
"""What a metric's name contains when it is known which of two values is better."""


class Verdict(StrEnum):
    """What a difference means."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNKNOWN = ""


STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red", Verdict.SAME: "", Verdict.UNKNOWN: ""}


def verdict(metric: str, diff: float | None) -> Verdict:
    """Return what `diff`, second version minus first, means for this metric."""
    name = metric.lower()
    lower = any(word in name for word in LOWER_IS_BETTER)
    higher = any(word in name for word in HIGHER_IS_BETTER)
    if diff is None or not (lower or higher):
        return Verdict.UNKNOWN
    if diff == 0:
        return Verdict.SAME
    # A name with words of both kinds, such as return_error, is about the error.
    return Verdict.BETTER if (diff < 0) == lower else Verdict.WORSE


def show(table: Table) -> None:
    """Print a table as wide as the terminal."""
    Console().print(table)


def show_json(value: object) -> None:
    """Print a value for scripts."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def fields(info: ModelInfo) -> dict[str, object]:
    """Return what is known of a version, for JSON."""
    return {**info.metadata.model_dump(mode="json"), "path": str(info.path)}


def versions_table(found: Sequence[ModelInfo]) -> Table:
    """Return one row a version."""
    table = Table("model", "version", "stage", "type", "MB", "metrics", "registered")
    for each in found:
        known = each.metadata
        metrics = " ".join(f"{name}={value:.4g}" for name, value in known.metrics.items())
        table.add_row(
            known.name,
            known.version,
            known.stage,
            Text(known.model_type),
            f"{known.model_size_mb:.2f}",
            Text(metrics),
            known.created_at.strftime("%Y-%m-%d %H:%M"),
        )
    return table


def served_table(served: Sequence[Mapping[str, object]]) -> Table:
    """Return one row a version of what a server answers."""
    table = Table("model", "version", "stage", "loaded")
    for each in served:
        name, version, stage = (str(each.get(field, "-")) for field in ("name", "version", "stage"))
        loaded = "yes" if each.get("loaded") is True else "no"
        table.add_row(Text(name), Text(version), Text(stage), loaded)
    return table


def fields_table(known: Mapping[str, object]) -> Table:
    """Return one row a field."""
    table = Table(show_header=False)
    for field, value in known.items():
        table.add_row(field, Text(value if isinstance(value, str) else json.dumps(value)))
    return table


def comparison_table(compared: Comparison) -> Table:
    """Return two versions side by side, with what is better or worse about the second."""
    table = Table("metric", title=compared["model_name"])
    for heading in (compared["version1"], compared["version2"], "difference", "%"):
        table.add_column(heading, justify="right")
    table.add_column(f"{compared['version2']} is")
    for name, metric in compared["metrics_comparison"].items():
        _add_metric(table, name, metric)
    size = compared["size_comparison"]
    table.add_section()
    table.add_row(
        "size (MB)",
        f"{size['v1_mb']:.2f}",
        f"{size['v2_mb']:.2f}",
        f"{size['diff_mb']:+.2f}",
    )
    return table


def history_table(name: str, entries: Sequence[HistoryEntry]) -> Table:
    """Return one row a change, oldest first."""
    table = Table(
        "when (UTC)", "version", "what", "from", "to", "replaced", "by", "reason", title=name
    )
    for each in entries:
        table.add_row(
            each.time.strftime("%Y-%m-%d %H:%M:%S"),
            each.version,
            each.action,
            each.from_stage or "",
            each.to_stage or "",
            each.replaced or "",
            Text(each.by),
            Text(each.reason),
        )
    return table


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Return one row a finding."""
    table = Table("where", "problem", "remedy", title=title)
    for each in findings:
        table.add_row(Text(each.path), Text(each.problem), Text(each.remedy))
    return table


def _add_metric(table: Table, name: str, metric: MetricComparison) -> None:
    meant = verdict(name, metric["diff"])
    table.add_row(
        Text(name),
        _number(metric["v1"]),
        _number(metric["v2"]),
        _number(metric["diff"], sign="+"),
        "" if metric["diff_pct"] is None else f"{metric['diff_pct']:+.1f}",
        Text(meant, style=STYLES[meant]),
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
"""What a table shows of a variant, by its name in the analysis."""

UNIT_FIGURES = {
    "seen": "{}",
    "labelled": "{} with an outcome",
    "effective": "worth equally busy ones",
}
"""What it shows of a variant's bots or symbols, where these are assigned."""


def experiments_table(listed: Sequence[Mapping[str, Any]]) -> Table:
    """Return experiments as they are listed."""
    table = Table("experiment", "status", "control", "treatment", "share", "ended")
    for each in listed:
        table.add_row(
            Text(each["experiment_id"]),
            each["status"],
            Text(each["control"]),
            Text(each["treatment"]),
            f"{each['treatment_traffic']:.0%}",
            each["end_reason"] or "",
        )
    return table


def analysis_table(analysis: Mapping[str, Any]) -> Table:
    """Return the figures of both variants side by side."""
    control, treatment = analysis["control"], analysis["treatment"]
    variants = (f"control {control['model']}", f"treatment {treatment['model']}")
    table = Table("", *(Column(Text(each)) for each in variants))
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
