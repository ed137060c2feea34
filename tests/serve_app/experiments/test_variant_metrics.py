"""The metrics of a variant equal those of scikit-learn and NumPy for the same rows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from features.labels import market_class
from serve_app.experiments.records import POSITION
from serve_app.experiments.summary import VariantSummary
from serve_app.experiments.variant_metrics import variant_metrics
from tests.serve_app.experiments.factories import outcome, prediction

DEAD_BAND = 0.001
ROWS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2]), st.floats(-0.01, 0.01)), min_size=1, max_size=60
)


def summarise(rows):
    summary = VariantSummary()
    for second, (direction, market_return) in enumerate(rows):
        record = prediction(second, direction=direction, latency_ms=1.0 + second)
        summary.add_prediction(record)
        summary.add_outcome(record, outcome(market_return, second + 60), DEAD_BAND)
    return summary


@settings(deadline=None)
@given(ROWS)
def test_scores(rows):
    """Accuracy, precision, recall and F1 equal those of scikit-learn."""
    metrics = variant_metrics(summarise(rows))
    predicted = [direction for direction, _ in rows]
    occurred = [market_class(market_return, DEAD_BAND) for _, market_return in rows]
    expected = precision_recall_fscore_support(
        occurred, predicted, labels=[0, 1, 2], average="macro", zero_division=0
    )[:3]
    assert metrics.accuracy == pytest.approx(accuracy_score(occurred, predicted))
    assert (metrics.precision, metrics.recall, metrics.f1_score) == pytest.approx(expected)


@settings(deadline=None)
@given(ROWS)
def test_returns(rows):
    """Returns, win rate and Sharpe ratio equal those computed by NumPy."""
    metrics = variant_metrics(summarise(rows), annual_periods=252)
    earned = np.array([POSITION[direction] * market_return for direction, market_return in rows])
    held = np.array([direction != 0 for direction, _ in rows])
    assert metrics.total_pnl == pytest.approx(earned.sum(), abs=1e-12)
    assert metrics.avg_return == pytest.approx(earned.mean(), abs=1e-12)
    assert metrics.win_rate == pytest.approx((earned[held] > 0).mean() if held.any() else 0.0)
    deviation = earned.std(ddof=1) if len(rows) > 1 else 0.0
    if deviation > 1e-6:
        ratio = earned.mean() / deviation
        assert metrics.sharpe_ratio == pytest.approx(ratio * math.sqrt(252), rel=1e-6, abs=1e-9)
        error = math.sqrt((1 + ratio**2 / 2) / len(rows) * 252)
        assert metrics.sharpe_standard_error == pytest.approx(error, rel=1e-6)


def test_traffic():
    """Error rate, latency and throughput follow from the predictions."""
    summary = summarise([(1, 0.01)] * 100)
    for second in range(100, 125):
        summary.add_prediction(prediction(second, error="overloaded", latency_ms=1e4))
    metrics = variant_metrics(summary)
    assert (metrics.samples, metrics.labelled) == (125, 100)
    assert metrics.error_rate == 0.2
    assert metrics.avg_latency_ms == pytest.approx(50.5)
    assert metrics.p95_latency_ms == pytest.approx(95, rel=0.01)
    assert metrics.throughput == pytest.approx(1.0)


def test_no_predictions():
    """Without predictions latency and Sharpe ratio are None, and all ratios 0."""
    metrics = variant_metrics(VariantSummary(), annual_periods=252)
    assert (metrics.avg_latency_ms, metrics.p95_latency_ms, metrics.sharpe_ratio) == (None,) * 3
    assert (metrics.accuracy, metrics.f1_score, metrics.win_rate, metrics.throughput) == (0.0,) * 4


def test_constant_returns():
    """Constant returns have no Sharpe ratio."""
    assert variant_metrics(summarise([(1, 0.003)] * 1000)).sharpe_ratio is None
