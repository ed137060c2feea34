"""How many labelled predictions a verdict needs, and how many bots or symbols."""

import math

from serve_app.experiments.blocks import BLOCKS_PER_DOUBLING
from serve_app.experiments.definition import UNIT_ASSIGNMENTS, ExperimentDefinition
from serve_app.experiments.statistics import sequential
from serve_app.experiments.statistics.by_unit import FEWEST_UNITS
from serve_app.experiments.statistics.distributions import normal_quantile
from serve_app.experiments.table import PREDICTIONS_PER_BLOCK

POWER = 0.8
SMALLEST_EFFECT = 0.01
"""The test is tuned to no smaller difference in accuracy: it would be blind to large ones."""

TUNED_SHARE = 0.25
"""The interval is narrowest at this share of the planned size: it costs 3 % of width at the planned
size, and a large effect is found much earlier."""

LOOKING_SHARE = 0.5
"""Part of alpha that is spent on looking at any time; the rest is spent at the planned end. Where
bots or symbols are assigned all of it is: when a few busy ones are also better or worse than the
others, Student's t at a single look is too narrow (7 to 11 % instead of 5 % in simulations)."""

BLOCKING_EFFICIENCY = 0.83
"""Information left after comparing within blocks (up to 1 / PREDICTIONS_PER_BLOCK is lost), and
after taking the larger of two estimated variances (some 5 %)."""

UNIT_EFFICIENCY = 0.9
"""Information left after drawing variants of unlike size, and taking the larger of two
variances."""


def planned_samples(definition: ExperimentDefinition) -> float:
    """Return the labelled predictions per variant with which one planned look finds the effect.

    2 (z_{1-alpha/2} + z_power)² p (1 - p) / effect², for an accuracy p of a half, the worst case
    (Fleiss, Levin and Paik 2003, section 4.2), for `min_accuracy_improvement` but
    no less than SMALLEST_EFFECT, at a power of 80 %.
    """
    effect = max(definition.min_accuracy_improvement, SMALLEST_EFFECT)
    z = -normal_quantile(definition.alpha / 2) + normal_quantile(POWER)
    return float(2 * z**2 * 0.25 / effect**2)


def planned_weight(definition: ExperimentDefinition) -> float:
    """Return the amount of data (`Estimate.weight`) that the sequential test is tuned to."""
    return TUNED_SHARE * planned_samples(definition) / 2


def looking_alpha(definition: ExperimentDefinition) -> float:
    """Return the part of alpha that is spent on looking at any time."""
    if definition.assignment in UNIT_ASSIGNMENTS:
        return definition.alpha
    return LOOKING_SHARE * definition.alpha


def samples_for_verdict(
    definition: ExperimentDefinition, effect: float, power: float = POWER
) -> float:
    """Return the labelled predictions per variant by which the always-valid test finds `effect`.

    For independent predictions, variants of equal size and an accuracy near a half. With shares c
    and t both variants together need this over 2 c t.

    Args:
        definition: for alpha and what the test is tuned to.
        effect: true difference in accuracy, not 0.
        power: probability of a significant difference by then.
    """
    alpha, tuned = looking_alpha(definition), planned_weight(definition)
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
    """Return the bots or symbols per variant by which the always-valid test finds `effect`.

    For equally busy ones, variants of equal size, an accuracy near a half, and predictions that are
    independent but for their unit. More outcomes of the same units help until `unit_deviation` is
    all that is left.

    Args:
        definition: for alpha and what the test is tuned to.
        effect: true difference in accuracy, not 0.
        unit_deviation: standard deviation of the units' own accuracies, below a half.
        outcomes_each: labelled predictions of each unit.
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
