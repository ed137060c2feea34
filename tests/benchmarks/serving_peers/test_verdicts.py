"""Ratios are of the same round, of each contestant's best entry, and evaluated by their goals."""

import math

import pytest

from benchmarks.serving_peers.contestants import DEFAULT, FASTAPI, RAW, Entry
from benchmarks.serving_peers.goals import evaluate
from benchmarks.serving_peers.measuring import Sample
from benchmarks.serving_peers.requests import as_json
from benchmarks.serving_peers.verdicts import (
    MANY_CALLERS,
    ONE_CALLER,
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


def test_best_entry():
    """For one caller the fastest entry counts, for many the one with the highest throughput."""
    samples = [
        *rounds(FASTAPI, 1, ONE_CALLER, [2.0], [450]),
        *rounds(FASTAPI, 2, ONE_CALLER, [2.5], [500]),
        *rounds(FASTAPI, 1, MANY_CALLERS, [60.0], [500]),
        *rounds(FASTAPI, 2, MANY_CALLERS, [70.0], [900]),
    ]

    assert best(samples, FASTAPI, ONE_CALLER).entry == "FastAPI, 1"
    assert best(samples, FASTAPI, MANY_CALLERS).entry == "FastAPI, 2"


def test_best_entry_by_median():
    """An entry is chosen by its median, not by its best round."""
    samples = [
        *rounds(FASTAPI, 1, MANY_CALLERS, [1.0] * 3, [500, 510, 520]),
        *rounds(FASTAPI, 2, MANY_CALLERS, [1.0] * 3, [100, 110, 9000]),
    ]

    assert best(samples, FASTAPI, MANY_CALLERS).entry == "FastAPI, 1"


def test_ratio_before_median():
    """A ratio is taken in each round, then the median."""
    # The machine is three times slower in round 2: each round says 0.5, the medians alone do too,
    # but in round 3 only the peer is slow, which the median of the ratios leaves out.
    assert median_ratio({1: 1.0, 2: 3.0, 3: 1.0}, {1: 2.0, 2: 6.0, 3: 20.0}) == 0.5


def test_shared_rounds():
    """Only rounds that both have count."""
    assert median_ratio({1: 1.0, 2: 100.0}, {1: 4.0}) == 0.25


def test_direction_of_ratios():
    """Latency and throughput are ours divided by the peer's."""
    samples = [
        *rounds(DEFAULT, 1, ONE_CALLER, [1.0, 1.0], [900, 900]),
        *rounds(FASTAPI, 1, ONE_CALLER, [2.0, 2.0], [450, 450]),
        *rounds(DEFAULT, 1, MANY_CALLERS, [40.0, 40.0], [900, 900]),
        *rounds(FASTAPI, 1, MANY_CALLERS, [60.0, 60.0], [600, 600]),
    ]

    assert latency_ratio(samples, DEFAULT, FASTAPI) == 0.5
    assert throughput_ratio(samples, DEFAULT, FASTAPI) == 1.5


def test_no_samples():
    """A contestant without samples has no ratio."""
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
def test_goal(bound, value, reached):
    """Whether a goal is reached follows from its figure alone."""
    verdict = Verdict(what="figure", value=value, unit=" x", bound=bound, limit=1.0)

    assert verdict.reached is reached


def test_not_measured():
    """A goal that was not measured stays in the table as not reached."""
    verdicts = evaluate([], {}, {}, {}, [])

    table = as_markdown(verdicts)
    assert len(table) == 2 + len(verdicts)
    assert all(line.endswith("| no |") and "not measured" in line for line in table[2:])
    assert any(RAW in line for line in table)


def test_table():
    """The table states the measured value, the goal and whether it is reached."""
    verdict = Verdict(what="ours", value=0.754, unit=" x", bound=Bound.AT_MOST, limit=1.0)

    assert as_markdown([verdict])[2:] == ["| ours | 0.75 x | ≤ 1 x | yes |"]
