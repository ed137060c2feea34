"""What predictions are worth, against values worked out by hand."""

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


def test_buy_earns_the_return_sell_its_opposite_and_hold_nothing():
    result = trade([BUY, SELL, HOLD], np.array([0.01, 0.02, 0.5]), horizon_bars=1)
    assert (result.trades, result.wins) == (2, 1)
    assert result.total_pnl == pytest.approx(-0.01)


def test_predictions_are_ignored_while_a_position_is_open():
    result = trade([BUY, BUY, SELL, BUY], np.array([1.0, 10.0, 100.0, 1000.0]), horizon_bars=3)
    assert result.trades == 2
    assert result.total_pnl == 1001


def test_a_failed_prediction_opens_no_position():
    result = trade([None, BUY], np.array([1.0, 2.0]), horizon_bars=2)
    assert (result.trades, result.total_pnl) == (1, 2)


def test_the_sharpe_ratio_is_annualised_by_the_trades_per_year():
    result = trade([BUY, HOLD, BUY, HOLD], np.array([0.01, 0, 0.03, 0]), horizon_bars=1)
    spread = math.sqrt(2) * 0.01
    assert result.sharpe_ratio == pytest.approx(0.02 / spread * math.sqrt(BARS_PER_YEAR / 2))


def test_figures_without_trades_are_left_out_rather_than_made_up():
    figures = trading_metrics(trade([HOLD, HOLD], np.zeros(2), horizon_bars=1))
    assert figures == {"trades": 0, "total_pnl": 0}


def test_classification_metrics_are_macro_averages():
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


def test_the_brier_score_is_the_mean_squared_error_of_the_confidence():
    figures = confidence_metrics(np.array([0.8, 0.4]), np.array([True, False]))
    assert figures == pytest.approx({"mean_confidence": 0.6, "brier_score": 0.1})
