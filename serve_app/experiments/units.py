"""Sums over the units (bots or symbols) of an experiment that assigns whole units.

The predictions of one unit resemble each other, so the units, not the predictions, are the random
draws. A test needs only the sum over all units of their vectors of sums, and the sum of the outer
products of each vector with itself: constant size for any number of units and predictions. The
layout of a vector is in `statistics.unit_moments`.

A prediction counts with its *overlap weight* (Li, Morgan and Zaslavsky 2018): 1 - share in
treatment and the share in control, where the share is that at the time of its assignment. Every
period thus has the same weight in both variants, and a treatment whose share grows is not compared
mainly by its later days (Simpson's paradox). Weights are relative to those at the intended share,
so that they are 1 unless exposure grows in steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from features.labels import market_class
from serve_app.experiments.records import POSITION, Outcome, PredictionRecord, Variant
from serve_app.experiments.statistics.unit_moments import (
    LABELLED,
    MEASURES,
    SIZE,
    Floats,
    UnitMoments,
)

VARIANTS = tuple(Variant)
"""The variants in the order of their parts in a unit's vector."""


def slice_of(variant: Variant) -> slice:
    """Return the slice of a vector that belongs to a variant."""
    start = MEASURES * VARIANTS.index(variant)
    return slice(start, start + MEASURES)


def overlap_weight(variant: Variant, share: float | None, intended: float) -> float:
    """Return the weight of a prediction.

    Args:
        variant: the prediction's variant.
        share: treatment's share when the prediction was assigned; None means the intended one.
        intended: treatment's intended share.
    """
    if share is None or not 0 < intended < 1:
        return 1.0
    if variant is Variant.TREATMENT:
        return (1 - share) / (1 - intended)
    return share / intended


def measure(record: PredictionRecord, outcome: Outcome, dead_band: float) -> Floats:
    """Return what a successful prediction with its outcome adds to its variant's part.

    Shape (MEASURES,).
    """
    assert record.direction is not None
    correct = record.direction == market_class(outcome.market_return, dead_band)
    earned = POSITION[record.direction] * outcome.market_return
    return np.array([1.0, correct, earned, earned**2])


@dataclass(slots=True, kw_only=True, eq=False)
class UnitTotals:
    """All units of an experiment so far: an accumulator whose latest state holds everything."""

    seen: list[int] = field(default_factory=lambda: [0, 0])
    """Number of distinct units with a prediction in control and in treatment, failed or not."""
    labelled: list[int] = field(default_factory=lambda: [0, 0])
    """Number of those with a labelled prediction."""
    first_seen: dict[float, list[int]] = field(default_factory=dict)
    """Number of units that were seen first in control and in treatment, by treatment's share at
    that time."""
    sums: Floats = field(default_factory=lambda: np.zeros(SIZE))
    """Sum of the units' vectors."""
    products: Floats = field(default_factory=lambda: np.zeros((SIZE, SIZE)))
    """Sum over units of the outer product of a unit's vector with itself."""
    independent: Floats = field(default_factory=lambda: np.zeros((SIZE, SIZE)))
    """The same sum if every prediction had been a separate unit."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnitTotals) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable

    @property
    def moments(self) -> UnitMoments:
        """The sums as the statistics take them."""
        return UnitMoments(self.sums, self.products, self.independent)

    def see(self, variant: Variant, share: float, *, first: bool) -> None:
        """Count a unit's first prediction in a variant; `first` if it is its first in either."""
        index = VARIANTS.index(variant)
        self.seen[index] += 1
        if first:
            self.first_seen.setdefault(share, [0, 0])[index] += 1

    def label(self, before: Floats, added: Floats, squares: Floats) -> None:
        """Count labelled predictions of one unit.

        Args:
            before: the unit's vector without these predictions, shape (SIZE,).
            added: sum of the vectors of these predictions.
            squares: sum of the outer products of each of these vectors with itself, shape (SIZE,
                SIZE).
        """
        after = before + added
        for index, variant in enumerate(VARIANTS):
            place = slice_of(variant).start + LABELLED
            self.labelled[index] += bool(after[place]) and not before[place]
        self.sums += added
        self.products += np.outer(after, after) - np.outer(before, before)
        self.independent += squares

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; floats are preserved exactly."""
        return {
            "seen": self.seen,
            "labelled": self.labelled,
            "first_seen": [[share, *counts] for share, counts in sorted(self.first_seen.items())],
            "sums": self.sums.tolist(),
            "products": self.products[_UPPER].tolist(),
            "independent": self.independent[_UPPER].tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the totals that `to_dict` returned.

        Raises:
            KeyError, TypeError, ValueError: the values are not those of unit totals.
        """
        return cls(
            seen=list(values["seen"]),
            labelled=list(values["labelled"]),
            first_seen={share: counts for share, *counts in values["first_seen"]},
            sums=np.array(values["sums"], float),
            products=_symmetric(values["products"]),
            independent=_symmetric(values["independent"]),
        )


_UPPER = np.triu_indices(SIZE)


def _symmetric(upper: list[float]) -> Floats:
    matrix = np.zeros((SIZE, SIZE))
    matrix[_UPPER] = upper
    return np.asarray(matrix + np.triu(matrix, 1).T)
