"""Sums per unit and their totals: the changes of a transaction.

A unit is a bot or a symbol. A request without `unit_id` is a unit of its own. No later request can
belong to it, so that only the totals need to include it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import orjson
from sqlalchemy import Connection, bindparam, insert, select, update

from serve_app.experiments.definition import UNIT_ASSIGNMENTS, Assignment, ExperimentDefinition
from serve_app.experiments.records import Outcome, PredictionRecord, Variant
from serve_app.experiments.statistics.unit_moments import SIZE, Floats
from serve_app.experiments.store.rows import in_parts
from serve_app.experiments.store.schema import SUMMARIES, UNIT_SUMS, UNITS
from serve_app.experiments.units import UnitTotals, measure, overlap_weight, slice_of

Variants = dict[Variant, Floats]
"""A unit's sums in each variant in which it was seen, of shape (MEASURES,)."""

_COLUMNS = ("labelled", "correct", "return_sum", "return_square_sum")
"""The columns in the order of a variant's part of a unit's vector."""


@dataclass(slots=True)
class _Added:
    """The contribution of the labelled predictions of one unit, see `UnitTotals.label`."""

    sums: Floats = field(default_factory=lambda: np.zeros(SIZE))
    squares: Floats = field(default_factory=lambda: np.zeros((SIZE, SIZE)))

    def add(self, variant: Variant, measured: Floats) -> None:
        part = slice_of(variant)
        self.sums[part] += measured
        self.squares[part, part] += np.outer(measured, measured)


@dataclass(slots=True)
class _Changes:
    """The changes of one experiment."""

    newest: int = 0
    """The latest block with a prediction."""
    seen: list[tuple[str | None, Variant, float]] = field(default_factory=list)
    """Unit, variant and treatment's share per prediction, in order; None: a unit of its own."""
    labelled: dict[str, _Added] = field(default_factory=dict)
    alone: list[_Added] = field(default_factory=list)
    """The contributions of requests that are units of their own."""


class UnitChanges:
    """The changes of a transaction to the sums, collected first and then applied together."""

    def __init__(self) -> None:
        self._experiments: dict[str, _Changes] = {}

    def add_prediction(
        self, record: PredictionRecord, definition: ExperimentDefinition, block: int
    ) -> None:
        """Record that a prediction's unit was seen, in an experiment that assigns units."""
        if definition.assignment in UNIT_ASSIGNMENTS and record.variant is not None:
            share = record.treatment_share
            seen = (
                _unit(record, definition),
                record.variant,
                definition.treatment_traffic if share is None else share,
            )
            self._of(definition, block).seen.append(seen)

    def add_outcome(
        self,
        record: PredictionRecord,
        outcome: Outcome,
        definition: ExperimentDefinition,
        block: int,
    ) -> None:
        """Count the outcome of a successful prediction, in an experiment that assigns units."""
        if (
            definition.assignment not in UNIT_ASSIGNMENTS
            or record.variant is None
            or record.direction is None
        ):
            return
        changes, unit = self._of(definition, block), _unit(record, definition)
        if unit is None:
            added = _Added()
            changes.alone.append(added)
        else:
            added = changes.labelled.setdefault(unit, _Added())
        weight = overlap_weight(
            record.variant, record.treatment_share, definition.treatment_traffic
        )
        added.add(record.variant, weight * measure(record, outcome, definition.dead_band))

    def apply(self, connection: Connection) -> None:
        """Add the collected changes to the stored sums and totals."""
        for experiment_id, changes in self._experiments.items():
            _apply(connection, experiment_id, changes)

    def _of(self, definition: ExperimentDefinition, block: int) -> _Changes:
        changes = self._experiments.setdefault(definition.experiment_id, _Changes())
        changes.newest = max(changes.newest, block)
        return changes


def _unit(record: PredictionRecord, definition: ExperimentDefinition) -> str | None:
    return record.symbol if definition.assignment is Assignment.SYMBOL else record.unit_id


def _apply(connection: Connection, experiment_id: str, changes: _Changes) -> None:
    named = {unit for unit, _, _ in changes.seen if unit is not None} | set(changes.labelled)
    stored = _stored(connection, experiment_id, named)
    units: dict[str, Variants] = {unit: dict(variants) for unit, variants in stored.items()}
    newest, totals = _totals(connection, experiment_id)
    for unit, variant, share in changes.seen:
        if unit is None:
            totals.see(variant, share, first=True)
            continue
        variants = units.setdefault(unit, {})
        if variant not in variants:
            totals.see(variant, share, first=not variants)
            variants[variant] = np.zeros(len(_COLUMNS))
    for unit, added in changes.labelled.items():
        known = units.get(unit)
        if not known:  # the prediction is older than migration 0003, which added units
            continue
        before = np.zeros(SIZE)
        for variant, sums in known.items():
            before[slice_of(variant)] = sums
        totals.label(before, added.sums, added.squares)
        units[unit] = {
            variant: (before + added.sums)[slice_of(variant)]
            for variant in Variant
            if variant in known or added.sums[slice_of(variant)].any()
        }
    for added in changes.alone:
        totals.label(np.zeros(SIZE), added.sums, added.squares)
    _write_units(connection, experiment_id, units, stored)
    _write_totals(connection, experiment_id, newest, max(newest or 0, changes.newest), totals)


def _stored(
    connection: Connection, experiment_id: str, units: Iterable[str]
) -> dict[str, Variants]:
    found: dict[str, Variants] = {}
    for some in in_parts(units):
        rows = connection.execute(
            select(UNIT_SUMS).where(
                UNIT_SUMS.c.experiment_id == experiment_id, UNIT_SUMS.c.unit.in_(some)
            )
        )
        for row in rows:
            sums = np.array([getattr(row, name) for name in _COLUMNS], float)
            found.setdefault(row.unit, {})[Variant(row.variant)] = sums
    return found


def _write_units(
    connection: Connection,
    experiment_id: str,
    units: dict[str, Variants],
    stored: dict[str, Variants],
) -> None:
    """Write the rows that are new or that differ from the stored ones."""
    inserted, updated = [], []
    for unit, variants in units.items():
        for variant, sums in variants.items():
            values = dict(zip(_COLUMNS, sums.tolist(), strict=True))
            before = stored.get(unit, {}).get(variant)
            if before is None:
                key = {"experiment_id": experiment_id, "unit": unit, "variant": variant.value}
                inserted.append(key | values)
            elif not np.array_equal(before, sums):
                key = {"of_experiment": experiment_id, "of_unit": unit, "of_variant": variant.value}
                updated.append(key | values)
    if inserted:
        connection.execute(insert(UNIT_SUMS), inserted)
    if updated:
        connection.execute(_UPDATE_UNIT, updated)


def _totals(connection: Connection, experiment_id: str) -> tuple[int | None, UnitTotals]:
    """Return the newest totals and their block; without any, empty totals and None."""
    row = connection.execute(
        select(SUMMARIES.c.block, SUMMARIES.c.summary)
        .where(SUMMARIES.c.experiment_id == experiment_id, SUMMARIES.c.variant == UNITS)
        .order_by(SUMMARIES.c.block.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None, UnitTotals()
    return row.block, UnitTotals.from_dict(orjson.loads(row.summary))


def _write_totals(
    connection: Connection,
    experiment_id: str,
    stored: int | None,
    block: int,
    totals: UnitTotals,
) -> None:
    text = orjson.dumps(totals.to_dict()).decode()
    key = {"experiment_id": experiment_id, "block": block, "variant": UNITS}
    if block == stored:
        of_block = [SUMMARIES.c[name] == value for name, value in key.items()]
        connection.execute(update(SUMMARIES).where(*of_block).values(summary=text))
    else:
        connection.execute(insert(SUMMARIES).values(**key, summary=text))


_UPDATE_UNIT = (
    update(UNIT_SUMS)
    .where(
        UNIT_SUMS.c.experiment_id == bindparam("of_experiment"),
        UNIT_SUMS.c.unit == bindparam("of_unit"),
        UNIT_SUMS.c.variant == bindparam("of_variant"),
    )
    .values({name: bindparam(name) for name in _COLUMNS})
)
