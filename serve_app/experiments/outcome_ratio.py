"""A coarse alarm: do the bots or symbols of both variants have equally many outcomes?

Single lost requests leave every unit in its variant, so that a count of units does not detect them.
They do reduce the number of outcomes per unit in a variant, which a t-test of the outcomes per unit
detects if many are lost, or if units are many and similar. The test is always valid, and its
variance, like that of the difference in accuracy, is never smaller than it is under the assumption
that units vary equally in both variants: a small variant may lack the few very active units.
"""

from dataclasses import dataclass

from serve_app.experiments.definition import UNIT_ASSIGNMENTS, ExperimentDefinition
from serve_app.experiments.sample_ratio import ALARM, PLANNED_UNITS
from serve_app.experiments.statistics.by_unit import FEWEST_UNITS
from serve_app.experiments.statistics.effect import effect_of_means
from serve_app.experiments.statistics.sequential import Moments
from serve_app.experiments.statistics.unit_moments import LABELLED
from serve_app.experiments.units import VARIANTS, UnitTotals, slice_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRatio:
    """Mean number of outcomes per unit, and whether the variants differ significantly."""

    control: float
    treatment: float
    always_valid_p_value: float

    @property
    def healthy(self) -> bool:
        """Whether there is no alarm.

        The probability of a false alarm at any time is at most ALARM.
        """
        return self.always_valid_p_value >= ALARM


def check_outcomes(definition: ExperimentDefinition, units: UnitTotals) -> OutcomeRatio | None:
    """Compare the number of outcomes per unit of both variants (Welch 1947, over units).

    Returns:
        None unless bots or symbols are assigned permanently (with exposure steps a unit is in both
        variants, for different times), and each variant has at least FEWEST_UNITS units.
    """
    if definition.assignment not in UNIT_ASSIGNMENTS or definition.exposure_steps:
        return None
    if min(units.seen) < FEWEST_UNITS:
        return None
    control, treatment = (
        _outcomes(units, slice_of(variant).start + LABELLED, count)
        for variant, count in zip(VARIANTS, units.seen, strict=True)
    )
    effect = effect_of_means(control, treatment)
    return OutcomeRatio(
        control=control.mean,
        treatment=treatment.mean,
        always_valid_p_value=effect.sequential_p_value(PLANNED_UNITS / 4, ALARM),
    )


def _outcomes(units: UnitTotals, place: int, count: int) -> Moments:
    """Return the moments of the number of outcomes per unit, of `count` units."""
    return Moments(
        n=count,
        total=float(units.sums[place]),
        square_total=float(units.products[place, place]),
    )
