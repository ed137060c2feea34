"""Evaluates predictions as classifications, as trades and as probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.records import DIRECTIONS

BARS_PER_YEAR = 6225
"""Hourly bars of EURUSD in 2017, without weekends; the basis of annualised Sharpe ratios."""

_POSITION = {DIRECTIONS["HOLD"]: 0, DIRECTIONS["BUY"]: 1, DIRECTIONS["SELL"]: -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingResult:
    """The result of trading one position at a time, without costs.

    A BUY or SELL opens a position if none is open. The position is held for one horizon, during
    which further predictions are ignored, so no two returns overlap. Spread, commission and
    slippage are not included.
    """

    trades: int
    wins: int
    """The number of positions with a positive return."""
    total_pnl: float
    """The sum of the returns of all positions, as a fraction of the constant stake."""
    sharpe_ratio: float | None
    """The mean of the trades' returns over their standard deviation, times the square root of the
    trades per year of BARS_PER_YEAR bars; None with fewer than two trades or without variation."""

    @property
    def win_rate(self) -> float | None:
        """The share of positions with a positive return; None without positions."""
        return self.wins / self.trades if self.trades else None

    @property
    def avg_return(self) -> float | None:
        """The mean return of a position; None without positions."""
        return self.total_pnl / self.trades if self.trades else None


def trade(
    directions: Sequence[int | None], returns: NDArray[np.float64], horizon_bars: int
) -> TradingResult:
    """Trade one prediction per bar, one position at a time.

    Args:
        directions: 0 HOLD, 1 BUY, 2 SELL of consecutive bars; None for a failed prediction, which
            opens no position.
        returns: the market's return over the horizon from each of these bars.
        horizon_bars: the number of bars for which a position is held.
    """
    earned: list[float] = []
    free_at = 0
    for bar, direction in enumerate(directions):
        if direction is None or _POSITION[direction] == 0 or bar < free_at:
            continue
        earned.append(_POSITION[direction] * float(returns[bar]))
        free_at = bar + horizon_bars
    spread = float(np.std(earned, ddof=1)) if len(earned) > 1 else 0.0
    sharpe_ratio = None
    if spread > 0:
        trades_per_year = len(earned) / len(directions) * BARS_PER_YEAR
        sharpe_ratio = float(np.mean(earned)) / spread * math.sqrt(trades_per_year)
    return TradingResult(
        trades=len(earned),
        wins=sum(value > 0 for value in earned),
        total_pnl=sum(earned),
        sharpe_ratio=sharpe_ratio,
    )


def classification_metrics(
    directions: NDArray[np.int64], labels: NDArray[np.int64]
) -> dict[str, float]:
    """Return accuracy, and precision, recall and F1 as macro averages over the three classes.

    A class that is never predicted has precision 0; a class that never occurs has recall 0.
    `majority_accuracy` is the accuracy of always predicting the most frequent label.
    """
    precisions, recalls, f1_scores = [], [], []
    for label in DIRECTIONS.values():
        right = int(np.sum((directions == label) & (labels == label)))
        predicted, actual = int(np.sum(directions == label)), int(np.sum(labels == label))
        precisions.append(right / predicted if predicted else 0.0)
        recalls.append(right / actual if actual else 0.0)
        f1_scores.append(2 * right / (predicted + actual) if predicted + actual else 0.0)
    return {
        "accuracy": float(np.mean(directions == labels)),
        "majority_accuracy": float(np.bincount(labels).max() / len(labels)),
        "precision": float(np.mean(precisions)),
        "recall": float(np.mean(recalls)),
        "f1_score": float(np.mean(f1_scores)),
    }


def confidence_metrics(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> dict[str, float]:
    """Return the mean confidence, to compare with the accuracy, and the Brier score."""
    return {
        "mean_confidence": float(confidence.mean()),
        "brier_score": float(np.mean((confidence - right) ** 2)),
    }


def trading_metrics(result: TradingResult) -> dict[str, float]:
    """Return the figures of a result by name, without undefined ones."""
    figures = {
        "trades": float(result.trades),
        "win_rate": result.win_rate,
        "avg_return": result.avg_return,
        "total_pnl": result.total_pnl,
        "sharpe_ratio": result.sharpe_ratio,
    }
    return {name: value for name, value in figures.items() if value is not None}
