"""The Pareto front of measured files, and the recommendation for a goal. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TIE = 0.05
"""The relative difference up to which figures count as equal; then the more exact file wins.
Medians of the same file differ by as much from run to run."""

_ROUNDING = 1e-5
"""Errors below it come from the order of single-precision sums."""


class Goal(StrEnum):
    """The figure that the recommendation optimises."""

    LATENCY = "latency"
    """The lowest median at batch 1."""
    THROUGHPUT = "throughput"
    """The most samples per second at the best batch size."""
    SIZE = "size"
    """The smallest file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The figures of a file whose outputs are within the tolerance."""

    name: str
    latency_ms: float
    """The median at batch 1."""
    throughput: float
    """Samples per second at the best batch size."""
    size_bytes: int
    error: float
    """The largest difference of an element from FP32, in spreads of its output."""


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that no other one dominates in all four figures.

    Figures are rounded to steps of TIE, since smaller differences are chance; of several with the
    same figures only the first is kept.
    """
    first: dict[tuple[int, ...], Candidate] = {}
    for candidate in candidates:
        first.setdefault(_steps(candidate), candidate)
    return [
        candidate
        for steps, candidate in first.items()
        if not any(_dominates(other, steps) for other in first if other != steps)
    ]


def recommend(candidates: Sequence[Candidate], goal: Goal) -> Candidate:
    """Return, among the candidates within TIE of the best for a goal, the one with the least error.

    If their errors are equal too, the first one wins, since chance decides which of them is faster:
    order the candidates from simple to complex.
    """
    best = min(_cost(candidate, goal) for candidate in candidates)
    near = [candidate for candidate in candidates if _cost(candidate, goal) <= best * (1 + TIE)]
    return min(near, key=lambda candidate: candidate.error)


def _cost(candidate: Candidate, goal: Goal) -> float:
    match goal:
        case Goal.LATENCY:
            return candidate.latency_ms
        case Goal.THROUGHPUT:
            return 1 / candidate.throughput
        case Goal.SIZE:
            return candidate.size_bytes


def _steps(candidate: Candidate) -> tuple[int, ...]:
    costs = [*(_cost(candidate, goal) for goal in Goal), max(candidate.error, _ROUNDING)]
    return tuple(round(math.log(cost) / math.log1p(TIE)) for cost in costs)


def _dominates(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
