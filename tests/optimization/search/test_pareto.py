"""The front, and the recommendation for each goal."""

import pytest

from optimization.search.pareto import TIE, Candidate, Goal, pareto_front, recommend


def candidate(name, latency_ms=1.0, throughput=1000.0, size_bytes=1000, error=0.0):
    return Candidate(
        name=name,
        latency_ms=latency_ms,
        throughput=throughput,
        size_bytes=size_bytes,
        error=error,
    )


FP32 = candidate("fp32")
FAST = candidate("fast", latency_ms=0.4, throughput=1500, size_bytes=300, error=0.02)
MANY = candidate("many", latency_ms=0.5, throughput=3000, size_bytes=320, error=0.05)
SMALL = candidate("small", latency_ms=0.9, throughput=1100, size_bytes=200, error=0.06)
ALL = [FP32, FAST, MANY, SMALL]


@pytest.mark.parametrize(
    ("goal", "best"), [(Goal.LATENCY, FAST), (Goal.THROUGHPUT, MANY), (Goal.SIZE, SMALL)]
)
def test_recommend(goal, best):
    """The goal decides which file is recommended."""
    assert recommend(ALL, goal) is best


@pytest.mark.parametrize("goal", Goal)
def test_recommend_within_tie(goal):
    """Within TIE the more exact file is recommended."""
    hardly = candidate(
        "hardly",
        latency_ms=1 / (1 + TIE / 2),
        throughput=1000 * (1 + TIE / 2),
        size_bytes=980,
        error=0.01,
    )
    assert recommend([FP32, hardly], goal) is FP32
    assert recommend([hardly, FP32], goal) is FP32


def test_pareto_front():
    """The front holds the files that no other one dominates."""
    dominated = candidate("dominated", latency_ms=0.6, throughput=1400, size_bytes=350, error=0.06)
    assert pareto_front([*ALL, dominated]) == ALL


def test_pareto_front_of_equals():
    """Of equal files the first is on the front."""
    assert pareto_front([FP32, candidate("the same")]) == [FP32]
