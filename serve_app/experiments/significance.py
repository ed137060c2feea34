"""The test of the difference in accuracy, the basis of the verdict."""

import math
from dataclasses import dataclass

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.power import interim_alpha, planned_weight
from serve_app.experiments.statistics.effect import Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Significance:
    """Treatment's accuracy minus control's, and whether the difference is significant."""

    difference: float
    standard_error: float | None
    """The error over blocks of time, and over units where these are assigned; None with too few."""
    interval: tuple[float, float] | None
    """The interval, valid jointly with those of all other interim looks; None with too few data."""
    p_value: float
    """The two-sided p-value, corrected for interim looks and for the planned end, if that has a
    separate test. It is at most alpha exactly when the interval excludes 0."""
    alpha: float
    significant: bool
    at_planned_end: bool
    """Whether this is the one analysis at the planned end."""


def accuracy_significance(
    definition: ExperimentDefinition, effect: Effect, *, at_planned_end: bool
) -> Significance:
    """Return the test of a difference in accuracy.

    Where bots or symbols are assigned it is the always-valid test alone, with all of alpha.
    Otherwise half of alpha is spent on interim looks (the always-valid test) and half on one
    analysis at the planned end (Student's t). Both together have a false positive with probability
    alpha at most (Bonferroni), and the final interval is nearly as narrow as that of a test without
    interim looks.

    Args:
        definition: the experiment, for alpha and the improvement that the test is tuned to.
        effect: difference in accuracy.
        at_planned_end: true for one analysis only, made at the end of the planned duration.
    """
    alpha, interim = definition.alpha, interim_alpha(definition)
    tuned = planned_weight(definition)
    p_value = effect.sequential_p_value(tuned, interim) * alpha / interim
    half_width = effect.sequential_half_width(tuned, interim)
    once = alpha - interim
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
