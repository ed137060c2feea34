"""Sums over units (bots or symbols): everything that the tests by unit need, in constant size.

Each unit has one vector of sums: control's part first, then treatment's, MEASURES values each. A
unit has values in both parts if its variant changed. For a test it is sufficient to know the sum of
these vectors over all units and the sum of their outer products.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LABELLED, CORRECT, RETURN, RETURN_SQUARE = range(4)
"""Positions within one variant's part of a vector: the weight of the labelled predictions, the
weight of the correct ones, and the weighted sums of the returns (signed by the position) and of
their squares."""
MEASURES = 4
CONTROL, TREATMENT = slice(0, MEASURES), slice(MEASURES, 2 * MEASURES)
"""The parts of a vector."""
SIZE = 2 * MEASURES
"""Length of a vector."""


@dataclass(frozen=True, slots=True)
class UnitMoments:
    """Sums over units as arrays whose leading axes are independent experiments."""

    sums: Floats
    """Sum of the units' vectors, shape (..., SIZE)."""
    products: Floats
    """Sum over units of the outer product of a unit's vector with itself, (..., SIZE, SIZE)."""
    independent: Floats
    """The same sum if every prediction had been a separate unit, shape (..., SIZE, SIZE)."""

    @property
    def labelled(self) -> tuple[Floats, Floats]:
        """Weight of the labelled predictions of control and treatment."""
        return self.sums[..., CONTROL][..., LABELLED], self.sums[..., TREATMENT][..., LABELLED]

    @property
    def effective(self) -> tuple[Floats, Floats]:
        """Number of equally active units that each variant is worth (Kish 1965): (Σn)² / Σn²."""
        return tuple(  # type: ignore[return-value]
            ratio(count**2, self.products[..., part, part][..., LABELLED, LABELLED])
            for count, part in zip(self.labelled, (CONTROL, TREATMENT), strict=True)
        )


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, and 0 if the whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(np.asarray(whole) > 0, part / np.asarray(whole), 0.0))
