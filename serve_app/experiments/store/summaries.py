"""Summaries per block of time: the changes of a transaction, and reading them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, bindparam, insert, select, update

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.history import StoredExperiment
from serve_app.experiments.records import Outcome, PredictionRecord, Variant
from serve_app.experiments.store.rows import in_parts
from serve_app.experiments.store.schema import PAIRS, SUMMARIES, UNITS
from serve_app.experiments.store.unit_sums import UnitChanges
from serve_app.experiments.summary import PairSummary, VariantSummary
from serve_app.experiments.units import UnitTotals

Key = tuple[str, int, str]
"""Experiment id, block, and variant or PAIRS."""


@dataclass(frozen=True, slots=True)
class SummaryRules:
    """How the predictions of an experiment are summarised; fixed when it is created."""

    clock: BlockClock
    definition: ExperimentDefinition

    @classmethod
    def of(cls, experiment: StoredExperiment) -> "SummaryRules":
        """Return the rules that follow from an experiment's definition and start time."""
        return cls(experiment.clock, experiment.definition)


FindRules = Callable[[str], SummaryRules | None]
"""Returns the rules of the experiment with an id, or None if it does not exist."""


class SummaryChanges:
    """The changes of a transaction to the summaries, collected first and then applied together.

    A prediction is counted in the block of its time, and so is its outcome, even if it arrives days
    later; a pair is counted in the block of its control.
    """

    def __init__(self, find_rules: FindRules) -> None:
        self._find_rules = find_rules
        self._variants: dict[Key, VariantSummary] = {}
        self._pairs: dict[Key, PairSummary] = {}
        self._units = UnitChanges()

    def add_prediction(self, record: PredictionRecord) -> None:
        """Count a prediction for its variant, if it has one."""
        if record.experiment_id is not None:
            self._variant_of(record).add_prediction(record)
            rules = self._rules(record)
            self._units.add_prediction(record, rules.definition, rules.clock.block(record.time))

    def add_pair(self, control: PredictionRecord, treatment: PredictionRecord) -> None:
        """Count a request for which the predictions of both variants are now known."""
        self._pair_of(control).add_predictions(control, treatment)

    def add_outcome(self, record: PredictionRecord, outcome: Outcome) -> None:
        """Count the outcome of a prediction for its variant, if it has one."""
        if record.experiment_id is not None:
            rules = self._rules(record)
            self._variant_of(record).add_outcome(record, outcome, rules.definition.dead_band)
            self._units.add_outcome(
                record, outcome, rules.definition, rules.clock.block(record.time)
            )

    def add_pair_outcome(
        self, control: PredictionRecord, treatment: PredictionRecord, outcome: Outcome
    ) -> None:
        """Count the outcome of a request for which both predictions are known."""
        dead_band = self._rules(control).definition.dead_band
        self._pair_of(control).add_outcome(control, treatment, outcome, dead_band)

    def apply(self, connection: Connection) -> None:
        """Add the collected changes to the stored summaries."""
        changed: dict[Key, VariantSummary | PairSummary] = {**self._variants, **self._pairs}
        stored = _stored(connection, changed)
        for key, text in stored.items():
            if key in self._variants:
                changed[key] = VariantSummary.from_dict(orjson.loads(text)).merge(
                    self._variants[key]
                )
            else:
                changed[key] = PairSummary.from_dict(orjson.loads(text)).merge(self._pairs[key])
        rows = {
            key: {
                "of_experiment": key[0],
                "of_block": key[1],
                "of_variant": key[2],
                "summary": orjson.dumps(summary.to_dict()).decode(),
            }
            for key, summary in changed.items()
        }
        updated = [row for key, row in rows.items() if key in stored]
        if updated:
            connection.execute(_UPDATE, updated)
        inserted = [
            dict(zip(("experiment_id", "block", "variant"), key, strict=True))
            | {"summary": row["summary"]}
            for key, row in rows.items()
            if key not in stored
        ]
        if inserted:
            connection.execute(insert(SUMMARIES), inserted)
        self._units.apply(connection)

    def _variant_of(self, record: PredictionRecord) -> VariantSummary:
        return self._variants.setdefault(self._key(record, record.variant or ""), VariantSummary())

    def _pair_of(self, control: PredictionRecord) -> PairSummary:
        return self._pairs.setdefault(self._key(control, PAIRS), PairSummary())

    def _key(self, record: PredictionRecord, variant: str) -> Key:
        assert record.experiment_id is not None
        return record.experiment_id, self._rules(record).clock.block(record.time), variant

    def _rules(self, record: PredictionRecord) -> SummaryRules:
        assert record.experiment_id is not None
        rules = self._find_rules(record.experiment_id)
        assert rules is not None, "only predictions of experiments that exist are stored"
        return rules


_UPDATE = (
    update(SUMMARIES)
    .where(
        SUMMARIES.c.experiment_id == bindparam("of_experiment"),
        SUMMARIES.c.block == bindparam("of_block"),
        SUMMARIES.c.variant == bindparam("of_variant"),
    )
    .values(summary=bindparam("summary"))
)


def read_blocks(connection: Connection, experiment_id: str) -> list[Block]:
    """Return an experiment's summaries in order of time; blocks without predictions are absent."""
    rows = connection.execute(
        select(SUMMARIES.c.block, SUMMARIES.c.variant, SUMMARIES.c.summary)
        .where(SUMMARIES.c.experiment_id == experiment_id)
        .order_by(SUMMARIES.c.block)
    )
    blocks: dict[int, Block] = {}
    for number, variant, text in rows:
        block = blocks.setdefault(number, Block(block=number))
        values = orjson.loads(text)
        if variant == PAIRS:
            block.pairs = PairSummary.from_dict(values)
        elif variant == UNITS:
            block.units = UnitTotals.from_dict(values)
        elif variant == Variant.CONTROL:
            block.control = VariantSummary.from_dict(values)
        else:
            block.treatment = VariantSummary.from_dict(values)
    return list(blocks.values())


def _stored(connection: Connection, keys: Collection[Key]) -> dict[Key, str]:
    """Return the stored summaries with these keys."""
    blocks: dict[str, set[int]] = {}
    for experiment_id, block, _ in keys:
        blocks.setdefault(experiment_id, set()).add(block)
    return {
        (row.experiment_id, row.block, row.variant): row.summary
        for experiment_id, numbers in blocks.items()
        for some in in_parts(numbers)
        for row in connection.execute(
            select(SUMMARIES).where(
                SUMMARIES.c.experiment_id == experiment_id, SUMMARIES.c.block.in_(some)
            )
        )
        if (row.experiment_id, row.block, row.variant) in keys
    }
