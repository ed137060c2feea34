"""A summary is the sum of its parts, whatever the order and however it is cut."""

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
def test_merging_is_adding_in_any_order_and_survives_json(first, second, third):
    whole = summarise([*third, *first, *second])
    parts = [summarise(rows) for rows in (first, second, third)]
    merged = parts[0].merge(*parts[1:])
    assert merged == reduce(VariantSummary.merge, parts)
    assert merged == whole
    assert VariantSummary.from_dict(json.loads(json.dumps(merged.to_dict()))) == merged


def test_what_is_counted():
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


def test_merging_changes_neither_part():
    left, right = summarise([(1, 0.5, 1.0, 0)]), summarise([(1, 0.5, 1.0, 0)])
    left.merge(right).add_prediction(prediction())
    assert left == right == summarise([(1, 0.5, 1.0, 0)])


def test_pairs_hold_what_a_paired_test_needs():
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
def test_a_quantile_is_off_by_the_stated_error_at_most(q):
    values = np.random.default_rng(1).lognormal(1.0, 2.0, 5_000)
    summaries = [VariantSummary() for _ in range(7)]
    for number, value in enumerate(values):
        summaries[number % 7].add_prediction(prediction(latency_ms=float(value)))
    exact = np.quantile(values, q, method="inverted_cdf")
    estimate = quantile_ms(VariantSummary().merge(*summaries).latency_bins, q)
    assert estimate == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)


def test_a_quantile_of_nothing_is_none_and_of_zero_is_a_microsecond():
    assert quantile_ms({}, 0.95) is None
    summary = VariantSummary()
    summary.add_prediction(prediction(latency_ms=0.0))
    assert quantile_ms(summary.latency_bins, 0.95) == pytest.approx(0.001, rel=RELATIVE_ERROR)


def test_a_summary_has_constant_size():
    """The widest range of latencies fills some thousand bins, whatever the number of records."""
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


def test_what_an_open_breaker_withheld_is_no_error_and_no_answer():
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
