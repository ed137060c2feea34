"""Ratios are of the same round, of each contestant's best way, and judged by their goals."""

import math

import pytest

from benchmarks.serving_peers.contestants import DEFAULT, FASTAPI, RAW, Entry
from benchmarks.serving_peers.goals import judge
from benchmarks.serving_peers.measuring import Sample
from benchmarks.serving_peers.requests import as_json
from benchmarks.serving_peers.verdicts import (
    CROWD,
    LONE,
    Bound,
    Verdict,
    as_markdown,
    best,
    latency_ratio,
    median_ratio,
    throughput_ratio,
)
from benchmarks.serving_peers.wrk import Load


def never_started(model):
    raise AssertionError(model)


def sample(contestant, workers, number, concurrency, *, p50_ms, requests_per_s):
    """One load of a second."""
    return Sample(
        entry=Entry(
            contestant=contestant,
            server=f"{contestant}, {workers}",
            workers=workers,
            encode=as_json,
            start=never_started,
        ),
        round=number,
        concurrency=concurrency,
        load=Load(
            requests=requests_per_s, seconds=1.0, percentiles_ms={50.0: p50_ms, 95.0: 2 * p50_ms}
        ),
        cpu_ms=1.0,
    )


def rounds(contestant, workers, concurrency, p50_ms, requests_per_s):
    """A sample a round, from two lists."""
    return [
        sample(contestant, workers, number, concurrency, p50_ms=p50, requests_per_s=answered)
        for number, (p50, answered) in enumerate(zip(p50_ms, requests_per_s, strict=True), start=1)
    ]


def test_the_best_way_for_one_caller_is_the_quickest_and_for_many_the_one_with_most_answers():
    samples = [
        *rounds(FASTAPI, 1, LONE, [2.0], [450]),
        *rounds(FASTAPI, 2, LONE, [2.5], [500]),
        *rounds(FASTAPI, 1, CROWD, [60.0], [500]),
        *rounds(FASTAPI, 2, CROWD, [70.0], [900]),
    ]

    assert best(samples, FASTAPI, LONE).entry == "FastAPI, 1"
    assert best(samples, FASTAPI, CROWD).entry == "FastAPI, 2"


def test_a_way_is_chosen_by_its_median_not_by_its_luckiest_round():
    samples = [
        *rounds(FASTAPI, 1, CROWD, [1.0] * 3, [500, 510, 520]),
        *rounds(FASTAPI, 2, CROWD, [1.0] * 3, [100, 110, 9000]),
    ]

    assert best(samples, FASTAPI, CROWD).entry == "FastAPI, 1"


def test_a_ratio_is_taken_in_each_round_before_the_median():
    # The machine is three times slower in round 2: each round says 0.5, the medians alone do too,
    # but in round 3 only the peer is slow, which the median of the ratios leaves out.
    assert median_ratio({1: 1.0, 2: 3.0, 3: 1.0}, {1: 2.0, 2: 6.0, 3: 20.0}) == 0.5


def test_rounds_that_only_one_of_the_two_has_do_not_count():
    assert median_ratio({1: 1.0, 2: 100.0}, {1: 4.0}) == 0.25


def test_latency_and_throughput_are_ours_over_the_peers():
    samples = [
        *rounds(DEFAULT, 1, LONE, [1.0, 1.0], [900, 900]),
        *rounds(FASTAPI, 1, LONE, [2.0, 2.0], [450, 450]),
        *rounds(DEFAULT, 1, CROWD, [40.0, 40.0], [900, 900]),
        *rounds(FASTAPI, 1, CROWD, [60.0, 60.0], [600, 600]),
    ]

    assert latency_ratio(samples, DEFAULT, FASTAPI) == 0.5
    assert throughput_ratio(samples, DEFAULT, FASTAPI) == 1.5


def test_a_contestant_without_samples_has_no_ratio():
    assert math.isnan(latency_ratio([], DEFAULT, FASTAPI))


@pytest.mark.parametrize(
    ("bound", "value", "reached"),
    [
        (Bound.AT_MOST, 1.0, True),
        (Bound.AT_MOST, 1.01, False),
        (Bound.AT_LEAST, 1.0, True),
        (Bound.AT_LEAST, 0.99, False),
        (Bound.BELOW, 0.99, True),
        (Bound.BELOW, 1.0, False),
        *((bound, math.nan, False) for bound in Bound),
    ],
)
def test_a_goal_is_reached_by_its_figure_alone(bound, value, reached):
    verdict = Verdict(what="figure", value=value, unit=" x", bound=bound, limit=1.0)

    assert verdict.reached is reached


def test_what_was_not_measured_stays_in_the_table_as_not_reached():
    verdicts = judge([], {}, {}, {}, [])

    table = as_markdown(verdicts)
    assert len(table) == 2 + len(verdicts)
    assert all(line.endswith("| no |") and "not measured" in line for line in table[2:])
    assert any(RAW in line for line in table)


def test_the_table_says_measured_goal_and_whether_it_is_reached():
    verdict = Verdict(what="ours", value=0.754, unit=" x", bound=Bound.AT_MOST, limit=1.0)

    assert as_markdown([verdict])[2:] == ["| ours | 0.75 x | ≤ 1 x | yes |"]
