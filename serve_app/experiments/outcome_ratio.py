"""Whether the bots or symbols of both variants have equally many outcomes: a coarse alarm.

Single requests that are lost leave every unit in its variant, so that no count of units sees them.
They do make the units of a variant poorer in outcomes, which a t-test of outcomes by unit sees
where many are lost, or units are many and alike. It is always valid, and like the error in accuracy
never less than if units scattered alike in both variants: a small variant may lack the few very
busy ones.
"""

import math
from dataclasses import dataclass

from serve_app.experiments.definition import UNIT_ASSIGNMENTS, ExperimentDefinition
from serve_app.experiments.effects import Effect
from serve_app.experiments.sample_ratio import ALARM, PLANNED_UNITS
from serve_app.experiments.statistics.by_unit import FEWEST_UNITS
from serve_app.experiments.units import LABELLED, VARIANTS, UnitTotals, slice_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRatio:
    """Outcomes of a unit, on average, and whether the variants differ by more than chance."""

    control: float
    treatment: float
    always_valid_p_value: float

    @property
    def healthy(self) -> bool:
        """Whether there is no alarm; none for nothing with probability 1 - ALARM, at any time."""
        return self.always_valid_p_value >= ALARM


def check_outcomes(definition: ExperimentDefinition, units: UnitTotals) -> OutcomeRatio | None:
    """Compare how many outcomes the units of both variants have (Welch 1947, over units).

    Returns:
        None unless bots or symbols are assigned, once and for all (under staged exposure a unit is
        in both variants for unlike times), with FEWEST_UNITS seen in each variant.
    """
    if definition.assignment not in UNIT_ASSIGNMENTS or definition.exposure_stages:
        return None
    if min(units.seen) < FEWEST_UNITS:
        return None
    means, spreads = [], []
    for variant, count in zip(VARIANTS, units.seen, strict=True):
        place = slice_of(variant).start + LABELLED
        total, squares = float(units.sums[place]), float(units.products[place, place])
        means.append(total / count)
        spreads.append(max(0.0, squares - total**2 / count))
    freedoms = [count - 1 for count in units.seen]
    parts = [
        spread / freedom / count
        for spread, freedom, count in zip(spreads, freedoms, units.seen, strict=True)
    ]
    alike = sum(spreads) / sum(freedoms) * sum(1 / count for count in units.seen)
    welch = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    effect = Effect(
        value=means[1] - means[0],
        standard_error=math.sqrt(max(sum(parts), alike)),
        degrees_of_freedom=sum(parts) ** 2 / welch if welch else float(min(freedoms)),
        weight=math.prod(units.seen) / sum(units.seen),
    )
    return OutcomeRatio(
        control=means[0],
        treatment=means[1],
        always_valid_p_value=effect.sequential_p_value(PLANNED_UNITS / 4, ALARM),
    )
