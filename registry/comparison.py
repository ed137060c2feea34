"""Two versions side by side. Pure."""

from typing import TypedDict

from registry.records import ModelMetadata


class MetricComparison(TypedDict):
    """One metric of both versions; None where a version lacks it."""

    v1: float | None
    v2: float | None
    diff: float | None
    """v2 - v1."""
    diff_pct: float | None
    """Relative to |v1|, in percent; None where v1 is 0 and v2 is not."""


class SizeComparison(TypedDict):
    """The size of all artifacts of both versions, in MB (10^6 bytes)."""

    v1_mb: float
    v2_mb: float
    diff_mb: float


class Comparison(TypedDict):
    """What `compare_models` returns."""

    model_name: str
    version1: str
    version2: str
    metrics_comparison: dict[str, MetricComparison]
    size_comparison: SizeComparison


def compare(first: ModelMetadata, second: ModelMetadata) -> Comparison:
    """Return how `second` differs from `first`, in every metric that either has."""
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
