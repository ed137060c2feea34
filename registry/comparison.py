"""Compares the metrics and sizes of two versions. Pure."""

from typing import TypedDict

from registry.records import ModelMetadata


class MetricComparison(TypedDict):
    """One metric of both versions."""

    v1: float | None
    """The first version's value; None if it has no such metric."""
    v2: float | None
    """The second version's value; None if it has no such metric."""
    diff: float | None
    """v2 - v1; None if either is missing."""
    diff_pct: float | None
    """The difference relative to |v1|, in percent; None if v1 is 0 and v2 is not."""


class SizeComparison(TypedDict):
    """The total size of each version's artifacts, in MB (10^6 bytes)."""

    v1_mb: float
    v2_mb: float
    diff_mb: float
    """v2_mb - v1_mb."""


class Comparison(TypedDict):
    """The result of `compare_models`."""

    model_name: str
    version1: str
    version2: str
    metrics_comparison: dict[str, MetricComparison]
    """Every metric that at least one of the versions has, by its name."""
    size_comparison: SizeComparison


def compare(first: ModelMetadata, second: ModelMetadata) -> Comparison:
    """Return the differences of `second` from `first`, for every metric that either has.

    >>> from datetime import UTC, datetime
    >>> first = ModelMetadata(
    ...     name="toy",
    ...     version="1.0.0",
    ...     created_at=datetime(2026, 1, 1, tzinfo=UTC),
    ...     updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    ...     model_type="HybridCNNLSTM",
    ...     metrics={"sharpe_ratio": -2.0},
    ...     output_names={"direction_logits": "direction_logits"},
    ...     label_map={0: "HOLD", 1: "BUY", 2: "SELL"},
    ...     model_size_mb=4.0,
    ...     artifacts={},
    ... )
    >>> second = first.model_copy(update={"version": "1.1.0", "metrics": {"sharpe_ratio": -1.0}})
    >>> compare(first, second)["metrics_comparison"]["sharpe_ratio"]
    {'v1': -2.0, 'v2': -1.0, 'diff': 1.0, 'diff_pct': 50.0}
    """
    names = list(dict.fromkeys([*first.metrics, *second.metrics]))
    return {
        "model_name": first.name,
        "version1": first.version,
        "version2": second.version,
        "metrics_comparison": {
            name: _compare_metric(first.metrics.get(name), second.metrics.get(name))
            for name in names
        },
        "size_comparison": {
            "v1_mb": first.model_size_mb,
            "v2_mb": second.model_size_mb,
            "diff_mb": second.model_size_mb - first.model_size_mb,
        },
    }


def _compare_metric(v1: float | None, v2: float | None) -> MetricComparison:
    if v1 is None or v2 is None:
        return {"v1": v1, "v2": v2, "diff": None, "diff_pct": None}
    diff = v2 - v1
    diff_pct = 100 * diff / abs(v1) if v1 else (0.0 if diff == 0 else None)
    return {"v1": v1, "v2": v2, "diff": diff, "diff_pct": diff_pct}
