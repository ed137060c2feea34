"""Whether the difference in accuracy is more than chance: the basis of the verdict."""

import math
from dataclasses import dataclass

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.effects import Effect
from serve_app.experiments.power import looking_alpha, planned_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Significance:
    """Treatment's accuracy minus control's, and whether it is more than chance."""

    difference: float
    standard_error: float | None
    """By block of time, and by unit where these are assigned; None while there are too few."""
    interval: tuple[float, float] | None
    """Holds together with all others ever looked at; None while nothing can be said."""
    p_value: float
    """Two-sided; corrected for looking at any time and, where there is one, for the planned look.
    At most alpha exactly when the interval leaves 0 out."""
    alpha: float
    significant: bool
    at_planned_end: bool
    """Whether this is the one analysis at the planned end."""


def accuracy_significance(
    definition: ExperimentDefinition, effect: Effect, *, at_planned_end: bool
) -> Significance:
    """Return the test of a difference in accuracy.

    Where bots or symbols are assigned it is the always-valid test alone, with all of alpha. Else
    half of alpha is spent on looking at any time (the always-valid test), the other half on one
    look at the planned end (Student's t). Both together reject no effect with
    probability alpha at most (Bonferroni), and the final interval is nearly as narrow as that of a
    test that was never looked at.

    Args:
        definition: for alpha, and the improvement that the test is tuned to.
        effect: difference in accuracy.
        at_planned_end: true for one analysis only, made when the planned duration is over.
    """
    alpha, looking = definition.alpha, looking_alpha(definition)
    tuned = planned_weight(definition)
    p_value = effect.sequential_p_value(tuned, looking) * alpha / looking
    half_width = effect.sequential_half_width(tuned, looking)
    once = alpha - looking
    if at_planned_end and once > 0:
        p_value = min(p_value, effect.fixed_p_value() * alpha / once)
        half_width = min(half_width, effect.fixed_half_width(once))
    p_value = min(1.0, p_value)
    interval = None
    if not math.isinf(half_width):
        interval = (max(-1.0, effect.value - half_width), min(1.0, effect.value + half_width))
    return Significance(
        difference=effect.value,
        standard_error=effect.standard_error if effect.known else None,
        interval=interval,
        p_value=p_value,
        alpha=alpha,
        significant=p_value <= alpha,
        at_planned_end=at_planned_end,
    )
