"""Sample sizes: the number of labelled predictions, bots or symbols that a verdict needs."""

import math

from serve_app.experiments.blocks import BLOCKS_PER_DOUBLING
from serve_app.experiments.definition import UNIT_ASSIGNMENTS, ExperimentDefinition
from serve_app.experiments.statistics import sequential
from serve_app.experiments.statistics.by_unit import FEWEST_UNITS
from serve_app.experiments.statistics.distributions import normal_quantile
from serve_app.experiments.table import PREDICTIONS_PER_BLOCK

POWER = 0.8
SMALLEST_EFFECT = 0.01
"""The test is tuned to no smaller difference in accuracy, so that it detects large ones early."""

TUNED_SHARE = 0.25
"""The interval is narrowest at this share of the planned size. This makes it 3 % wider at the
planned size, and detects a large effect much earlier."""

INTERIM_SHARE = 0.5
"""Part of alpha that is spent on interim looks; the rest is spent at the planned end. Where bots or
symbols are assigned, all of alpha is spent on interim looks: if a few very active ones are also
better or worse than the others, Student's t at the planned end rejects too often (7 to 11 % instead
of 5 % in simulations)."""

BLOCKING_EFFICIENCY = 0.83
"""Part of the information that remains after the comparison within blocks (which loses up to
1 / PREDICTIONS_PER_BLOCK) and after taking the larger of two estimated variances (some 5 %)."""

UNIT_EFFICIENCY = 0.9
"""Part of the information that remains after the random split into variants of unequal size, and
after taking the larger of two variances."""


def planned_samples(definition: ExperimentDefinition) -> float:
    """Return the labelled predictions per variant that one planned analysis needs.

    2 (z_{1-alpha/2} + z_power)² p (1 - p) / effect², for an accuracy p of one half, the worst case
    (Fleiss, Levin and Paik 2003, section 4.2). The effect is `min_accuracy_improvement`, but at
    least SMALLEST_EFFECT, and the power is 80 %.
    """
    effect = max(definition.min_accuracy_improvement, SMALLEST_EFFECT)
    z = -normal_quantile(definition.alpha / 2) + normal_quantile(POWER)
    return float(2 * z**2 * 0.25 / effect**2)


def planned_weight(definition: ExperimentDefinition) -> float:
    """Return the amount of data (`Estimate.weight`) that the sequential test is tuned to."""
    return TUNED_SHARE * planned_samples(definition) / 2


def interim_alpha(definition: ExperimentDefinition) -> float:
    """Return the part of alpha that is spent on interim looks."""
    if definition.assignment in UNIT_ASSIGNMENTS:
        return definition.alpha
    return INTERIM_SHARE * definition.alpha


def samples_for_verdict(
    definition: ExperimentDefinition, effect: float, power: float = POWER
) -> float:
    """Return the labelled predictions per variant by which the always-valid test detects `effect`.

    This holds for independent predictions, variants of equal size and an accuracy near one half.
    With shares c and t both variants together need this number divided by 2 c t.

    Args:
        definition: the experiment, for alpha and the size that the test is tuned to.
        effect: true difference in accuracy, not 0.
        power: probability of a significant difference by then.
    """
    alpha, tuned = interim_alpha(definition), planned_weight(definition)
    z = normal_quantile(power)
    samples = 2.0 * PREDICTIONS_PER_BLOCK
    while True:
        weight = BLOCKING_EFFICIENCY * samples / 2
        blocks = min(BLOCKS_PER_DOUBLING, samples / PREDICTIONS_PER_BLOCK)
        information = sequential.tuning(alpha) * weight / tuned
        critical = float(sequential.critical_t(blocks - 1, information, alpha))
        if abs(effect) * math.sqrt(weight / 0.25) >= critical + z:
            return samples
        samples *= 1.01


def units_for_verdict(
    definition: ExperimentDefinition,
    effect: float,
    *,
    unit_deviation: float,
    outcomes_each: float,
    power: float = POWER,
) -> int:
    """Return the bots or symbols per variant by which the always-valid test detects `effect`.

    This holds for equally active units, variants of equal size, an accuracy near one half, and
    predictions that are independent within their unit. More outcomes of the same units help until
    only `unit_deviation` remains.

    Args:
        definition: the experiment, for alpha and the size that the test is tuned to.
        effect: true difference in accuracy, not 0.
        unit_deviation: standard deviation of the units' own accuracies, below one half.
        outcomes_each: labelled predictions per unit.
        power: probability of a significant difference by then.
    """
    alpha, tuned = definition.alpha, planned_weight(definition)
    z = normal_quantile(power)
    between = unit_deviation**2
    of_unit = between + (0.25 - between) / outcomes_each
    units = math.ceil(FEWEST_UNITS)
    while True:
        information = sequential.tuning(alpha) * units * outcomes_each / 2 / tuned
        critical = float(sequential.critical_t(2 * (units - 1), information, alpha))
        error = math.sqrt(2 * of_unit / (UNIT_EFFICIENCY * units))
        if abs(effect) >= (critical + z) * error:
            return units
        units += max(1, units // 100)
