"""What is kept of the units (bots or symbols) of an experiment that assigns them as a whole.

A unit's predictions resemble each other, so that units, not predictions, are what was drawn. For a
test it is enough to know, of the vector of sums that each unit has, the sum over all units and the
sum of its products with itself: constant size, however many units and predictions there are.

A prediction counts by its *overlap weight* (Li, Morgan and Zaslavsky 2018): in treatment by
1 - share, in control by the share, of the moment it was assigned. So what came at any time weighs
as much in one variant as in the other, and a treatment whose share grows is not judged by the luck
of the later days (Simpson's paradox). Weights are relative to those at the intended share: 1 unless
exposure is staged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serve_app.experiments.records import POSITION, Outcome, PredictionRecord, Variant, market_class

Floats = NDArray[np.float64]

LABELLED, CORRECT, RETURN, RETURN_SQUARE = range(4)
"""Places in a variant's part of a vector: weights of the labelled predictions, of those that were
right, and weighted sums of the returns signed by the position and of their squares."""
MEASURES = 4
VARIANTS = tuple(Variant)
SIZE = MEASURES * len(VARIANTS)
"""Of a vector: control's part, then treatment's. A unit has both when its variant changed."""


def slice_of(variant: Variant) -> slice:
    """Return where a variant's part of a vector lies."""
    start = MEASURES * VARIANTS.index(variant)
    return slice(start, start + MEASURES)


def overlap_weight(variant: Variant, share: float | None, intended: float) -> float:
    """Return what a prediction counts for.

    Args:
        variant: its variant.
        share: treatment's when it was assigned; None stands for the intended one.
        intended: treatment's share in the end.
    """
    if share is None or not 0 < intended < 1:
        return 1.0
    if variant is Variant.TREATMENT:
        return (1 - share) / (1 - intended)
    return share / intended


def measure(record: PredictionRecord, outcome: Outcome, dead_band: float) -> Floats:
    """Return what an answered prediction with its outcome adds to its variant.

    Shape (MEASURES,).
    """
    assert record.direction is not None
    right = record.direction == market_class(outcome.market_return, dead_band)
    earned = POSITION[record.direction] * outcome.market_return
    return np.array([1.0, right, earned, earned**2])


@dataclass(slots=True, kw_only=True, eq=False)
class UnitTotals:
    """The units of an experiment by now; an accumulator, the newest of which holds everything."""

    seen: list[int] = field(default_factory=lambda: [0, 0])
    """Distinct units with a prediction in control and in treatment, answered or not."""
    labelled: list[int] = field(default_factory=lambda: [0, 0])
    """Those with a labelled one."""
    first_seen: dict[float, list[int]] = field(default_factory=dict)
    """By treatment's share at the moment: in which variant units were seen first."""
    sums: Floats = field(default_factory=lambda: np.zeros(SIZE))
    """Of the units' vectors."""
    products: Floats = field(default_factory=lambda: np.zeros((SIZE, SIZE)))
    """Sum over units of the outer product of a unit's vector with itself."""
    independent: Floats = field(default_factory=lambda: np.zeros((SIZE, SIZE)))
    """The same, had each prediction been a unit."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnitTotals) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def see(self, variant: Variant, share: float, *, first: bool) -> None:
        """Count a unit's first prediction in a variant, which may be its first in either."""
        index = VARIANTS.index(variant)
        self.seen[index] += 1
        if first:
            self.first_seen.setdefault(share, [0, 0])[index] += 1

    def label(self, before: Floats, added: Floats, squares: Floats) -> None:
        """Count labelled predictions of one unit.

        Args:
            before: the unit's vector without them, shape (SIZE,).
            added: what they add to it.
            squares: the sum over them of the outer products of what each adds, (SIZE, SIZE).
        """
        after = before + added
        for index, variant in enumerate(VARIANTS):
            place = slice_of(variant).start + LABELLED
            self.labelled[index] += bool(after[place]) and not before[place]
        self.sums += added
        self.products += np.outer(after, after) - np.outer(before, before)
        self.independent += squares

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; floats survive exactly."""
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
        """Return what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
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
