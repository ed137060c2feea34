"""One effect, treatment minus control, with every test that can be asked of it.

Latency and errors do not overlap as returns do, but slow or failing spells outlast a block of a
second: the covariance of neighbouring blocks always counts there. They are the server's, whoever
asks: they are compared by time also where bots or symbols are assigned.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from serve_app.experiments.definition import (
    UNIT_ASSIGNMENTS,
    Assignment,
    ExperimentDefinition,
    Mode,
)
from serve_app.experiments.statistics import by_unit, estimates, sequential
from serve_app.experiments.statistics.by_unit import UnitMoments
from serve_app.experiments.statistics.distributions import t_quantile, t_tail
from serve_app.experiments.statistics.estimates import Estimate, Floats, VariantBlocks
from serve_app.experiments.statistics.sequential import SequentialTest
from serve_app.experiments.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Treatment minus control."""

    value: float
    standard_error: float
    degrees_of_freedom: float
    """Of the standard error; below 1 there are too few blocks to say anything."""
    weight: float
    """Amount of data, see `estimates.Estimate.weight`."""

    @classmethod
    def of(cls, estimate: Estimate) -> "Effect":
        """Return the effect of an estimate of a single experiment."""
        return cls(
            value=float(estimate.value),
            standard_error=float(estimate.standard_error),
            degrees_of_freedom=float(estimate.degrees_of_freedom),
            weight=float(estimate.weight),
        )

    @property
    def known(self) -> bool:
        """Whether there are blocks enough for a standard error."""
        return self.degrees_of_freedom >= 1 and self.weight > 0

    @property
    def t(self) -> float:
        """The effect in standard errors."""
        if self.value == 0:
            return 0.0
        if self.standard_error == 0:
            return math.copysign(math.inf, self.value)
        return self.value / self.standard_error

    def above(self, margin: float) -> "Effect":
        """Return by how much the effect is above `margin`."""
        return replace(self, value=self.value - margin)

    def below(self, margin: float) -> "Effect":
        """Return by how much the effect is below `margin`."""
        return replace(self, value=margin - self.value)

    def sequential_p_value(self, planned_weight: float, alpha: float) -> float:
        """Return the always-valid two-sided p-value of "the effect is 0"; 1 when unknown."""
        if not self.known:
            return 1.0
        information = self._information(planned_weight, alpha)
        return float(sequential.p_value(self.t, self.degrees_of_freedom, information))

    def sequential_one_sided_p_value(self, planned_weight: float, alpha: float) -> float:
        """Return the always-valid p-value of "the effect is not above 0"; 1 when unknown."""
        if not self.known:
            return 1.0
        information = self._information(planned_weight, alpha)
        return float(sequential.one_sided_p_value(self.t, self.degrees_of_freedom, information))

    def sequential_half_width(self, planned_weight: float, alpha: float) -> float:
        """Return the half-width of the two-sided 1 - alpha confidence sequence."""
        if not self.known:
            return math.inf
        critical = sequential.critical_t(
            self.degrees_of_freedom, self._information(planned_weight, alpha), alpha
        )
        return math.inf if math.isinf(critical) else float(critical) * self.standard_error

    def fixed_p_value(self) -> float:
        """Return the two-sided p-value of a single look planned beforehand; 1 when unknown."""
        return 2 * t_tail(abs(self.t), self.degrees_of_freedom) if self.known else 1.0

    def fixed_half_width(self, alpha: float) -> float:
        """Return the half-width of the two-sided 1 - alpha interval of a single planned look."""
        if not self.known:
            return math.inf
        return -t_quantile(alpha / 2, self.degrees_of_freedom) * self.standard_error

    def _information(self, planned_weight: float, alpha: float) -> float:
        return sequential.tuning(alpha) * self.weight / planned_weight


def accuracy_effect(definition: ExperimentDefinition, table: Table) -> Effect:
    """Return the difference in accuracy, as a share."""
    if definition.mode is Mode.MIRROR:
        return _paired(table.pairs.accuracy, neighbours=table.neighbours, extra_pairs=1)
    if definition.assignment in UNIT_ASSIGNMENTS:
        found = by_unit.accuracy_by_unit(UnitMoments.of(table.units))
        return _with_time(table, *found, table.control.accuracy, table.treatment.accuracy)
    control, treatment = table.control.accuracy, table.treatment.accuracy
    floor = estimates.independent_variance(estimates.counted(control), estimates.counted(treatment))
    return _compared(definition, control, treatment, floor, neighbours=table.neighbours)


def return_effect(definition: ExperimentDefinition, table: Table) -> Effect:
    """Return the difference in return by prediction, as a fraction of the stake."""
    if definition.mode is Mode.MIRROR:
        return _paired(table.pairs.returns, neighbours=table.neighbours)
    if definition.assignment in UNIT_ASSIGNMENTS:
        found = by_unit.return_by_unit(UnitMoments.of(table.units))
        return _with_time(table, *found, table.control.returns, table.treatment.returns)
    control, treatment = table.control.returns, table.treatment.returns
    floor = estimates.independent_variance(control, treatment)
    return _compared(definition, control, treatment, floor, neighbours=table.neighbours)


def _with_time(
    table: Table,
    between: Estimate,
    independent: Floats,
    control: VariantBlocks,
    treatment: VariantBlocks,
) -> Effect:
    return Effect.of(
        by_unit.with_time(
            between,
            independent,
            control,
            treatment,
            table.treated_share,
            neighbours=table.neighbours,
        )
    )


def latency_effect(definition: ExperimentDefinition, table: Table) -> Effect:
    """Return the difference in mean latency, in ms."""
    if definition.mode is Mode.MIRROR:
        return _paired(table.pairs.latency, neighbours=True)
    control, treatment = table.control.latency, table.treatment.latency
    floor = estimates.independent_variance(control, treatment)
    return _compared(definition, control, treatment, floor, neighbours=True)


def error_effect(definition: ExperimentDefinition, table: Table, ratio: float = 1.0) -> Effect:
    """Return treatment's error rate minus `ratio` times control's."""
    control, treatment = table.control.errors, table.treatment.errors
    floor = estimates.independent_variance(
        _scaled(estimates.counted(control), ratio), estimates.counted(treatment)
    )
    return _compared(definition, _scaled(control, ratio), treatment, floor, neighbours=True)


def _compared(
    definition: ExperimentDefinition,
    control: VariantBlocks,
    treatment: VariantBlocks,
    floor: Floats,
    *,
    neighbours: bool,
) -> Effect:
    if definition.assignment is Assignment.SWITCHBACK:
        return Effect.of(estimates.between_blocks(control, treatment, neighbours=neighbours))
    return Effect.of(
        estimates.within_blocks(control, treatment, floor=floor, neighbours=neighbours)
    )


def _paired(pairs: VariantBlocks, *, neighbours: bool, extra_pairs: int = 0) -> Effect:
    """Compare pairs; `extra_pairs` discordant ones each way are added for the variance alone."""
    n = float(pairs.n.sum())
    extra = np.zeros(pairs.n.shape)
    extra[0] = 2 * extra_pairs
    padded = VariantBlocks(pairs.n + extra, pairs.total, pairs.square_total + extra)
    floor = float(estimates.value_variance(padded)) / n if n else 0.0
    return Effect.of(estimates.paired(pairs, floor=floor, neighbours=neighbours))


def _scaled(variant: VariantBlocks, ratio: float) -> VariantBlocks:
    return VariantBlocks(variant.n, ratio * variant.total, ratio**2 * variant.square_total)


def difference_over_blocks(
    control: VariantBlocks,
    treatment: VariantBlocks,
    *,
    alpha: float = 0.05,
    planned_n: float,
    neighbours: bool = True,
) -> SequentialTest | None:
    """Return treatment's mean minus control's, always valid for values correlated over time.

    The block method on its own: cut time into equally long blocks, at least one horizon long, and
    sum up each variant's values (0 and 1 for accuracy) in each.

    Args:
        control, treatment: by block in order of time, arrays of shape (blocks,), zeros where a
        variant
            has none; look as often as you like, the last block may be unfinished.
        alpha: probability of ever leaving the truth out of the interval.
        planned_n: values per variant at which the interval is narrowest; it must not depend on the
            data.
        neighbours: false only for blocks of many horizons, whose neighbours are independent.

    Returns:
        None while there are too few blocks to say anything.
    """
    floor = estimates.independent_variance(control, treatment)
    effect = Effect.of(
        estimates.within_blocks(control, treatment, floor=floor, neighbours=neighbours)
    )
    if not effect.known:
        return None
    half_width = effect.sequential_half_width(planned_n / 2, alpha)
    return SequentialTest(
        value=effect.value,
        interval=(effect.value - half_width, effect.value + half_width),
        p_value=effect.sequential_p_value(planned_n / 2, alpha),
        alpha=alpha,
    )
