"""Which of two values of a metric is better."""

import pytest

from serve_app.cli import tables


@pytest.mark.parametrize(
    ("metric", "diff", "verdict"),
    [
        ("accuracy", 0.1, "better"),
        ("val_accuracy", -0.1, "worse"),
        ("sharpe_ratio", 0.0, "same"),
        ("error_rate", -0.1, "better"),
        ("max_drawdown", 0.1, "worse"),
        ("Brier_score", -0.1, "better"),
        ("p95_latency_ms", 1.0, "worse"),
        ("return_error", 1.0, "worse"),
        ("trades", 10.0, ""),
        ("accuracy", None, ""),
    ],
)
def test_verdict(metric, diff, verdict):
    """Lower is better for losses, higher for gains; other names have no verdict."""
    assert tables.verdict(metric, diff) == verdict
