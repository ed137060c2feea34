"""Which of several measured files is best, and for what. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TIE = 0.05
"""Latencies, throughputs and sizes this close are one; then the more exact file wins. Medians of
the same file differ by as much from run to run."""


_ROUNDING = 1e-5
"""Errors below it are the order of single-precision sums."""


class Goal(StrEnum):
    """What the user wants most."""

    LATENCY = "latency"
    """The median at batch 1."""
    THROUGHPUT = "throughput"
    """Samples a second at the best batch size."""
    SIZE = "size"
    """The file's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is known of one file that gives the right answers."""

    name: str
    latency_ms: float
    """Median at batch 1."""
    throughput: float
    """Samples a second at the best batch size."""
    size_bytes: int
    error: float
    """Largest difference from FP32 of a single element, in spreads of its output."""


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return those that no other one beats: as good in all four respects and better in one.

    Figures count in steps of TIE, since differences below it are chance; of several with the same
    figures the first stays.
    """
    first: dict[tuple[int, ...], Candidate] = {}
    for candidate in candidates:
        first.setdefault(_steps(candidate), candidate)
    return [
        each
        for steps, each in first.items()
        if not any(_beats(other, steps) for other in first if other != steps)
    ]


def recommend(candidates: Sequence[Candidate], goal: Goal) -> Candidate:
    """Return the best for a goal; within TIE of it the one with the smallest error.

    Where errors are the same too, the faster one of nearly equals stays open to chance, so the
    first in order wins: put the plainest first.
    """
    best = min(_cost(candidate, goal) for candidate in candidates)
    near = [candidate for candidate in candidates if _cost(candidate, goal) <= best * (1 + TIE)]
    return min(near, key=lambda each: each.error)


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


def _beats(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
