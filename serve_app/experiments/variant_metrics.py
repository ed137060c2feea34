"""The metrics of one variant.

A ratio without a denominator is 0, as with scikit-learn's zero_division=0. A metric that has no
value then (latency, Sharpe ratio) is None.
"""

import math
from dataclasses import dataclass

from serve_app.experiments.statistics.histogram import quantile_ms
from serve_app.experiments.statistics.sequential import Moments
from serve_app.experiments.statistics.sharpe import sharpe_ratio, standard_error
from serve_app.experiments.summary import CLASSES, VariantSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantMetrics:
    """The metrics of one variant.

    The error rate is over the attempted predictions, quality over the labelled ones.
    """

    samples: int
    """Number of predictions: successful, failed, and rejected by an open circuit breaker."""
    labelled: int
    """Number of successful predictions with an outcome."""
    accuracy: float
    precision: float
    recall: float
    f1_score: float
    """Precision, recall and F1 are averages over the three classes HOLD, BUY and SELL."""
    win_rate: float
    """Share of the positions (BUY or SELL) with a positive return."""
    avg_return: float
    """Mean return per labelled prediction, signed by the position; a HOLD earns 0."""
    total_pnl: float
    """Sum of the returns, all with the same stake."""
    sharpe_ratio: float | None
    """Mean over standard deviation of the returns, annualised if the number of periods per year is
    known, otherwise per prediction."""
    sharpe_standard_error: float | None
    """Lo's (2002) standard error for independent returns, annualised in the same way."""
    avg_latency_ms: float | None
    p95_latency_ms: float | None
    """The 95th percentile within 1 %; latencies are those of successful predictions."""
    error_rate: float
    throughput: float
    """Predictions per second between the first and the last one."""


def variant_metrics(summary: VariantSummary, annual_periods: float | None = None) -> VariantMetrics:
    """Return the metrics of a variant.

    Args:
        summary: all predictions of the variant.
        annual_periods: number of horizons per year; None leaves the Sharpe ratio per
            prediction.
    """
    labelled = summary.labelled
    precision, recall, f1_score = macro_scores(summary.confusion)
    ratio = sharpe_ratio(return_moments(summary))
    yearly = math.sqrt(annual_periods) if annual_periods else 1.0
    elapsed_s = (summary.last_s or 0.0) - (summary.first_s or 0.0)
    return VariantMetrics(
        samples=summary.predictions,
        labelled=labelled,
        accuracy=_share(summary.correct, labelled),
        precision=precision,
        recall=recall,
        f1_score=f1_score,
        win_rate=_share(summary.wins, summary.positions),
        avg_return=_share(summary.return_sum, labelled),
        total_pnl=summary.return_sum,
        sharpe_ratio=None if ratio is None else ratio * yearly,
        sharpe_standard_error=None if ratio is None else standard_error(ratio, labelled) * yearly,
        avg_latency_ms=summary.latency_sum / summary.succeeded if summary.succeeded else None,
        p95_latency_ms=quantile_ms(summary.latency_bins, 0.95),
        error_rate=_share(summary.errors, summary.attempted),
        throughput=_share(summary.predictions - 1, elapsed_s) if summary.predictions else 0.0,
    )


def macro_scores(confusion: list[int]) -> tuple[float, float, float]:
    """Return precision, recall and F1, averaged over the three classes.

    They equal scikit-learn's `precision_recall_fscore_support(labels=[0, 1, 2], average="macro",
    zero_division=0)`: a class that was neither predicted nor occurred counts as 0.

    Args:
        confusion: counts row by row, `confusion[3 * occurred + predicted]`.
    """
    precisions, recalls, f1_scores = [], [], []
    for label in range(CLASSES):
        correct = confusion[CLASSES * label + label]
        predicted = sum(confusion[label::CLASSES])
        occurred = sum(confusion[CLASSES * label : CLASSES * (label + 1)])
        precisions.append(_share(correct, predicted))
        recalls.append(_share(correct, occurred))
        f1_scores.append(_share(2 * correct, predicted + occurred))
    return sum(precisions) / CLASSES, sum(recalls) / CLASSES, sum(f1_scores) / CLASSES


def return_moments(summary: VariantSummary) -> Moments:
    """Return the sufficient statistics of a variant's returns, as if they were independent."""
    return Moments(
        n=summary.labelled, total=summary.return_sum, square_total=summary.return_square_sum
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
