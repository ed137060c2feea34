"""A summary is the sum of its parts, in any order and however it is split."""

import json
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.experiments.statistics.histogram import RELATIVE_ERROR, quantile_ms
from serve_app.experiments.summary import PairSummary, VariantSummary
from tests.serve_app.experiments.factories import outcome, prediction

RECORDS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, None]),
        st.sampled_from([-0.5, -0.25, 0.0, 0.25, 0.5]),
        st.sampled_from([0.5, 1.0, 4.0]),
        st.integers(0, 1000),
    ),
    max_size=30,
)


def summarise(rows):
    summary = VariantSummary()
    for direction, market_return, latency_ms, second in rows:
        error = "prediction_failed" if direction is None else None
        record = prediction(second, direction=direction, error=error, latency_ms=latency_ms)
        summary.add_prediction(record)
        summary.add_outcome(record, outcome(market_return, second + 60), dead_band=0.25)
    return summary


@settings(deadline=None)
@given(RECORDS, RECORDS, RECORDS)
def test_merge(first, second, third):
    """Merging equals adding in any order, and a summary is equal after its conversion to JSON."""
    whole = summarise([*third, *first, *second])
    parts = [summarise(rows) for rows in (first, second, third)]
    merged = parts[0].merge(*parts[1:])
    assert merged == reduce(VariantSummary.merge, parts)
    assert merged == whole
    assert VariantSummary.from_dict(json.loads(json.dumps(merged.to_dict()))) == merged


def test_counts():
    """A summary counts predictions, errors, outcomes, returns and latencies."""
    summary = summarise(
        [
            (1, 0.5, 1.0, 10),  # BUY, the market rose: right and won
            (2, 0.5, 1.0, 20),  # SELL, the market rose: wrong and lost
            (0, 0.25, 4.0, 5),  # HOLD within the dead band: right, no position
            (None, 0.5, 9.0, 30),  # failed: no label, no latency
        ]
    )
    assert (summary.predictions, summary.errors, summary.succeeded, summary.labelled) == (
        4,
        1,
        3,
        3,
    )
    assert (summary.correct, summary.positions, summary.wins) == (2, 2, 1)
    assert summary.confusion == [1, 0, 0, 0, 1, 1, 0, 0, 0]
    assert (summary.return_sum, summary.return_square_sum) == (0.0, 0.5)
    assert (summary.latency_sum, summary.latency_square_sum) == (6.0, 18.0)
    assert (summary.assigned, summary.share_sum) == (4, 0.5)
    assert summary.least_delay_s == 60
    assert summary.last_s - summary.first_s == 25


def test_merge_changes_no_part():
    """Merging returns a new summary and changes neither part."""
    left, right = summarise([(1, 0.5, 1.0, 0)]), summarise([(1, 0.5, 1.0, 0)])
    left.merge(right).add_prediction(prediction())
    assert left == right == summarise([(1, 0.5, 1.0, 0)])


def test_copy_is_independent():
    """A copy is equal, and does not change with the original."""
    original = summarise([(1, 0.5, 1.0, 0)])
    copied = original.copy()
    original.add_prediction(prediction())
    assert copied == summarise([(1, 0.5, 1.0, 0)]) != original


def test_pairs():
    """The summary of pairs holds the sums of a paired test."""
    pairs = PairSummary()
    for control, treatment, market_return in [(1, 1, 0.5), (2, 1, 0.5), (1, 0, -0.5), (1, 2, 0.5)]:
        left = prediction(direction=control, latency_ms=1.0)
        right = prediction(direction=treatment, latency_ms=3.0)
        pairs.add_predictions(left, right)
        pairs.add_outcome(left, right, outcome(market_return), dead_band=0.0)
    failed = prediction(error="overloaded")
    pairs.add_predictions(left, failed)
    pairs.add_outcome(left, failed, outcome(0.5), dead_band=0.0)
    assert (pairs.pairs, pairs.labelled) == (4, 4)
    assert (pairs.both_correct, pairs.only_control_correct, pairs.only_treatment_correct) == (
        1,
        1,
        1,
    )
    assert (pairs.latency_difference_sum, pairs.latency_difference_square_sum) == (8.0, 16.0)
    assert pairs.return_product_sum == pytest.approx(0.25 - 0.25 - 0.25)
    assert PairSummary.from_dict(json.loads(json.dumps(pairs.to_dict()))) == pairs


@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_quantile_error(q):
    """The relative error of a quantile is within its bound after merging."""
    values = np.random.default_rng(1).lognormal(1.0, 2.0, 5_000)
    summaries = [VariantSummary() for _ in range(7)]
    for number, value in enumerate(values):
        summaries[number % 7].add_prediction(prediction(latency_ms=float(value)))
    exact = np.quantile(values, q, method="inverted_cdf")
    estimate = quantile_ms(VariantSummary().merge(*summaries).latency_bins, q)
    assert estimate == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)


def test_quantile_limits():
    """A quantile without values is None, and that of zero is a microsecond."""
    assert quantile_ms({}, 0.95) is None
    summary = VariantSummary()
    summary.add_prediction(prediction(latency_ms=0.0))
    assert quantile_ms(summary.latency_bins, 0.95) == pytest.approx(0.001, rel=RELATIVE_ERROR)


def test_constant_size():
    """The widest range of latencies fills some thousand bins, for any number of records."""
    bins = {
        index
        for value in np.geomspace(1e-6, 1e9, 20_000)
        for index in one_latency(float(value)).latency_bins
    }
    assert len(bins) <= 1400


def one_latency(latency_ms):
    summary = VariantSummary()
    summary.add_prediction(prediction(latency_ms=latency_ms))
    return summary


def test_withheld_predictions():
    """A prediction that the open breaker rejected is neither an error nor a success."""
    variant = VariantSummary()
    variant.add_prediction(prediction(1.0))
    variant.add_prediction(prediction(2.0, error="overloaded"))
    variant.add_prediction(prediction(3.0, error="circuit_open"))
    assert (variant.predictions, variant.errors, variant.attempted, variant.succeeded) == (
        3,
        1,
        2,
        1,
    )
    assert variant.assigned == 3, "the sample ratio counts them"
