"""Sums per bot or symbol equal the sums over the rows, also for repeated and late records."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from serve_app.experiments.records import Variant
from serve_app.experiments.store import ExperimentStore
from serve_app.experiments.store.schema import UNIT_SUMS
from tests.serve_app.experiments.store.builders import (
    START,
    assert_summaries_equal_rows,
    assert_units_equal_rows,
    definition,
    newest_units,
    outcome,
    prediction,
)

HALF = {"control_traffic": 0.5, "treatment_traffic": 0.5}


@pytest.fixture
def store(url):
    with ExperimentStore(url) as store:
        store.create_experiment(definition(assignment="unit_id", **HALF), START)
        yield store


def by_bot(number, bot, variant=Variant.CONTROL, after_s=None, **fields):
    fields = {"treatment_share": 0.5, "unit_id": bot, **fields}
    return prediction(f"p{number}", variant, number if after_s is None else after_s, **fields)


@pytest.fixture
def rows(database):
    """Read the stored units: (labelled, correct, return) by unit and variant."""

    def read():
        with database.reading() as connection:
            return {
                (row.unit, row.variant): (row.labelled, row.correct, row.return_sum)
                for row in connection.execute(select(UNIT_SUMS))
            }

    return read


def test_seen_without_outcome(store, rows):
    """A unit counts as seen from its first prediction."""
    store.write_predictions([by_bot(1, "a"), by_bot(2, "b", Variant.TREATMENT), by_bot(3, "a")])
    assert rows() == {("a", "control"): (0, 0, 0), ("b", "treatment"): (0, 0, 0)}
    totals = newest_units(store)
    assert (totals.seen, totals.labelled) == ([1, 1], [0, 0])
    assert totals.first_seen == {0.5: [1, 1]}


def test_failed_prediction(store):
    """A unit whose prediction failed is seen but not labelled."""
    store.write_predictions([by_bot(1, "a", error="timeout")])
    store.record_outcomes([outcome("p1")])
    assert (newest_units(store).seen, newest_units(store).labelled) == ([1, 0], [0, 0])


def test_sums_per_unit(store, rows):
    """Outcomes add up per unit, and the totals hold the sums of products."""
    store.write_predictions([by_bot(number, "ab"[number % 2]) for number in range(6)])
    store.record_outcomes([outcome(f"p{number}", 0.01) for number in range(4)])
    store.record_outcomes([outcome("p4", -0.02)])
    assert rows() == {
        ("a", "control"): (3, 2, pytest.approx(0.0)),
        ("b", "control"): (2, 2, pytest.approx(0.02)),
    }
    totals = newest_units(store)
    assert totals.sums[:2].tolist() == [5, 4]
    assert totals.products[0, 0] == 3**2 + 2**2
    assert totals.independent[0, 0] == 5
    assert_units_equal_rows(store)


def test_repeated_records(store):
    """Records that are sent again are counted once."""
    records = [by_bot(1, "a"), by_bot(2, "b", Variant.TREATMENT), by_bot(3, None)]
    for _ in range(2):
        store.write_predictions(records)
        store.record_outcomes([outcome(record.prediction_id) for record in records])
        store.record_outcomes([outcome("p1", -0.5)])
    assert_units_equal_rows(store)
    assert newest_units(store).seen == [2, 1]


def test_request_without_unit(store, rows):
    """A request without `unit_id` is a unit of its own, and has no row."""
    store.write_predictions([by_bot(number, None) for number in range(3)])
    store.record_outcomes([outcome(f"p{number}") for number in range(3)])
    totals = newest_units(store)
    assert rows() == {}
    assert (totals.seen, totals.labelled) == ([3, 0], [3, 0])
    assert totals.products[0, 0] == totals.sums[0] == 3


def test_symbols(url, rows):
    """In an experiment by symbol, symbols are the units."""
    with ExperimentStore(url) as store:
        store.create_experiment(definition(assignment="symbol", **HALF), START)
        records = [
            prediction(f"p{number}", symbol=symbol, treatment_share=0.5, unit_id="bot")
            for number, symbol in enumerate(("EURUSD", "EURUSD", "GBPUSD"))
        ]
        store.write_predictions(records)
        store.record_outcomes([outcome(record.prediction_id) for record in records])
        assert {unit for unit, _ in rows()} == {"EURUSD", "GBPUSD"}
        assert newest_units(store).products[0, 0] == 2**2 + 1


@pytest.mark.parametrize("fields", [{}, {"mode": "mirror"}])
def test_other_assignments(url, fields, rows):
    """Experiments that assign requests have no sums per unit."""
    with ExperimentStore(url) as store:
        store.create_experiment(definition(**fields), START)
        store.write_predictions([by_bot(1, "a")])
        store.record_outcomes([outcome("p1")])
        assert rows() == {}
        assert [block.units for block in store.blocks("e1")] == [None]


def test_unit_in_both_variants(store):
    """A unit that changed its variant counts in both, and was first seen in one."""
    stepped = definition("e2", "m2", assignment="unit_id", exposure_steps=(0.1, 0.5), **HALF)
    store.create_experiment(stepped, START)
    before = by_bot(1, "a", treatment_share=0.1, experiment_id="e2")
    after = by_bot(2, "a", Variant.TREATMENT, experiment_id="e2")
    store.write_predictions([before])
    store.write_predictions([after])
    store.record_outcomes([outcome("p1"), outcome("p2")])
    totals = newest_units(store, "e2")
    assert (totals.seen, totals.first_seen) == ([1, 1], {0.1: [1, 0]})
    control, treatment = 0.1 / 0.5, 1.0  # overlap weights
    assert totals.products[0, 4] == pytest.approx(control * treatment)
    assert_units_equal_rows(store, "e2", first_seen=False)


def test_totals_of_older_block(store):
    """The totals of a block hold what was known while it was the newest."""
    store.write_predictions([by_bot(1, "a", after_s=0.0)])
    store.write_predictions([by_bot(2, "b", after_s=60.0)])
    store.record_outcomes([outcome("p1")])
    store.write_predictions([by_bot(3, "c", after_s=1.0)])  # late
    old, late, new = (block.units for block in store.blocks("e1"))
    assert (old.seen, old.labelled) == ([1, 0], [0, 0])
    assert late is None
    assert (new.seen, new.labelled) == ([3, 0], [1, 0])


def test_retention(store, rows):
    """Deleting predictions changes neither sums nor totals."""
    store.write_predictions([by_bot(1, "a"), by_bot(2, None), by_bot(3, "b", after_s=86_400 * 20)])
    store.record_outcomes([outcome("p1"), outcome("p2")])
    before, kept = newest_units(store), rows()
    now = START + timedelta(days=20)
    assert store.delete_older_than(timedelta(days=10), now=now) == 2
    assert (newest_units(store), rows()) == (before, kept)
    assert store.write_predictions([by_bot(1, "a"), by_bot(2, None)]).written == 0
    store.record_outcomes([outcome("p1"), outcome("p2")])
    assert newest_units(store) == before
    store.record_outcomes([outcome("p3")])
    assert newest_units(store).labelled == [3, 0]


def test_many_units(store):
    """Sums of many units in random order equal the sums over the rows."""
    generator = np.random.default_rng(3)
    bots = generator.integers(0, 40, 600)
    records = [
        by_bot(number, f"bot{bot}", Variant.TREATMENT if bot % 2 else Variant.CONTROL)
        for number, bot in enumerate(bots.tolist())
    ]
    for start in range(0, 600, 100):
        store.write_predictions(records[start : start + 100])
        chosen = generator.integers(0, start + 100, 60).tolist()
        returns = generator.normal(0, 0.01, 60).tolist()
        store.record_outcomes(
            [outcome(f"p{number}", value) for number, value in zip(chosen, returns, strict=True)]
        )
    assert newest_units(store).seen == [20, 20]
    assert_units_equal_rows(store)
    assert_summaries_equal_rows(store)


def test_unstorable_unit_id(store):
    """A unit_id that no database can store is rejected."""
    written = store.write_predictions([by_bot(1, "a\0b")])
    assert "no database can store" in written.rejected[0].reason
