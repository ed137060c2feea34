"""The evaluation of predictions, against values computed by hand."""

import math

import numpy as np
import pytest

from examples.eurusd.evaluation import (
    BARS_PER_YEAR,
    classification_metrics,
    confidence_metrics,
    trade,
    trading_metrics,
)

HOLD, BUY, SELL = 0, 1, 2


def test_positions():
    """BUY earns the return, SELL its negative, HOLD nothing."""
    result = trade([BUY, SELL, HOLD], np.array([0.01, 0.02, 0.5]), horizon_bars=1)
    assert (result.trades, result.wins) == (2, 1)
    assert result.total_pnl == pytest.approx(-0.01)


def test_open_position():
    """Predictions are ignored while a position is open."""
    result = trade([BUY, BUY, SELL, BUY], np.array([1.0, 10.0, 100.0, 1000.0]), horizon_bars=3)
    assert result.trades == 2
    assert result.total_pnl == 1001


def test_failed_prediction():
    """A failed prediction opens no position."""
    result = trade([None, BUY], np.array([1.0, 2.0]), horizon_bars=2)
    assert (result.trades, result.total_pnl) == (1, 2)


def test_sharpe_ratio():
    """The Sharpe ratio is annualised with the trades per year."""
    result = trade([BUY, HOLD, BUY, HOLD], np.array([0.01, 0, 0.03, 0]), horizon_bars=1)
    spread = math.sqrt(2) * 0.01
    assert result.sharpe_ratio == pytest.approx(0.02 / spread * math.sqrt(BARS_PER_YEAR / 2))


def test_no_trades():
    """Figures that are undefined without trades are omitted."""
    figures = trading_metrics(trade([HOLD, HOLD], np.zeros(2), horizon_bars=1))
    assert figures == {"trades": 0, "total_pnl": 0}


def test_classification_metrics():
    """Classification metrics are macro averages."""
    # By class: precision 1, 1/3, 0; recall 1/2, 1, 0; F1 2/3, 1/2, 0.
    metrics = classification_metrics(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 2]))
    assert metrics == pytest.approx(
        {
            "accuracy": 1 / 2,
            "majority_accuracy": 1 / 2,
            "precision": 4 / 9,
            "recall": 1 / 2,
            "f1_score": 7 / 18,
        }
    )


def test_brier_score():
    """The Brier score is the mean squared error of the confidence."""
    figures = confidence_metrics(np.array([0.8, 0.4]), np.array([True, False]))
    assert figures == pytest.approx({"mean_confidence": 0.6, "brier_score": 0.1})
