"""The effects of an experiment: treatment minus control in accuracy, return, latency and errors.

Unlike returns, latency and errors do not overlap, but a slow or failing period outlasts a block of
one second, so the covariance of neighbouring blocks always counts for them. They are properties of
the server and do not depend on the client: they are compared by time even where bots or symbols
are assigned.
"""

from serve_app.experiments.definition import (
    UNIT_ASSIGNMENTS,
    Assignment,
    ExperimentDefinition,
    Mode,
)
from serve_app.experiments.statistics import by_unit, estimates
from serve_app.experiments.statistics.effect import Effect, paired_effect
from serve_app.experiments.statistics.estimates import Estimate, Floats, VariantBlocks
from serve_app.experiments.table import Table


def accuracy_effect(definition: ExperimentDefinition, table: Table) -> Effect:
    """Return the difference in accuracy, as a share."""
    if definition.mode is Mode.MIRROR:
        return paired_effect(table.pairs.accuracy, neighbours=table.neighbours, extra_pairs=1)
    if definition.assignment in UNIT_ASSIGNMENTS:
        found = by_unit.accuracy_by_unit(table.units.moments)
        return _with_time(table, *found, table.control.accuracy, table.treatment.accuracy)
    control, treatment = table.control.accuracy, table.treatment.accuracy
    floor = estimates.independent_variance(estimates.counted(control), estimates.counted(treatment))
    return _compared(definition, control, treatment, floor, neighbours=table.neighbours)


def return_effect(definition: ExperimentDefinition, table: Table) -> Effect:
    """Return the difference in return per prediction, as a fraction of the stake."""
    if definition.mode is Mode.MIRROR:
        return paired_effect(table.pairs.returns, neighbours=table.neighbours)
    if definition.assignment in UNIT_ASSIGNMENTS:
        found = by_unit.return_by_unit(table.units.moments)
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
        return paired_effect(table.pairs.latency, neighbours=True)
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


def _scaled(variant: VariantBlocks, ratio: float) -> VariantBlocks:
    return VariantBlocks(variant.n, ratio * variant.total, ratio**2 * variant.square_total)
