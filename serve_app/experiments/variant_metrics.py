"""What a variant achieved. Ratios of nothing are 0, as scikit-learn's zero_division=0 has it; what
has no value then (latency, Sharpe ratio) is None.
"""

import math
from dataclasses import dataclass

from serve_app.experiments.statistics.histogram import quantile_ms
from serve_app.experiments.statistics.sequential import Moments
from serve_app.experiments.statistics.sharpe import sharpe_ratio, standard_error
from serve_app.experiments.summary import CLASSES, VariantSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantMetrics:
    """Figures of one variant.

    The error rate is over what it was asked for, quality over `labelled`.
    """

    samples: int
    """Predictions: answered, failed, and withheld by an open circuit breaker."""
    labelled: int
    """Answered predictions with an outcome."""
    accuracy: float
    precision: float
    recall: float
    f1_score: float
    """Precision, recall and F1 are averages over the three classes HOLD, BUY and SELL."""
    win_rate: float
    """Share of the positions (BUY or SELL) that earned more than nothing."""
    avg_return: float
    """Per labelled prediction, signed by the position; a HOLD earns 0."""
    total_pnl: float
    """Sum of the returns, each with the same stake."""
    sharpe_ratio: float | None
    """Mean over standard deviation of the returns, annualised when the periods in a year are known,
    else per prediction."""
    sharpe_standard_error: float | None
    """Lo (2002), for independent returns, annualised alike."""
    avg_latency_ms: float | None
    p95_latency_ms: float | None
    """Within 1 %; latencies are of answered predictions."""
    error_rate: float
    throughput: float
    """Predictions a second between the first and the last."""


def variant_metrics(summary: VariantSummary, annual_periods: float | None = None) -> VariantMetrics:
    """Return the figures of a variant.

    Args:
        summary: everything the variant did.
        annual_periods: returns in a year, each over one horizon; None leaves the Sharpe ratio per
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
        avg_latency_ms=summary.latency_sum / summary.answered if summary.answered else None,
        p95_latency_ms=quantile_ms(summary.latency_bins, 0.95),
        error_rate=_share(summary.errors, summary.asked),
        throughput=_share(summary.predictions - 1, elapsed_s) if summary.predictions else 0.0,
    )


def macro_scores(confusion: list[int]) -> tuple[float, float, float]:
    """Return precision, recall and F1, averaged over the three classes.

    As scikit-learn's `precision_recall_fscore_support(labels=[0, 1, 2], average="macro",
    zero_division=0)`: a class that neither was predicted nor occurred counts as 0.

    Args:
        confusion: counts row by row, `confusion[3 * occurred + predicted]`.
    """
    precisions, recalls, f1_scores = [], [], []
    for each in range(CLASSES):
        right = confusion[CLASSES * each + each]
        predicted = sum(confusion[each::CLASSES])
        occurred = sum(confusion[CLASSES * each : CLASSES * (each + 1)])
        precisions.append(_share(right, predicted))
        recalls.append(_share(right, occurred))
        f1_scores.append(_share(2 * right, predicted + occurred))
    return sum(precisions) / CLASSES, sum(recalls) / CLASSES, sum(f1_scores) / CLASSES


def return_moments(summary: VariantSummary) -> Moments:
    """Return the sufficient statistics of a variant's returns, as if they were independent."""
    return Moments(
        n=summary.labelled, total=summary.return_sum, square_total=summary.return_square_sum
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
