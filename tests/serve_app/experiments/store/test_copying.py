"""A copy of a store, also to a database of the other kind, has the same content."""

import pytest
from sqlalchemy import insert

from serve_app.experiments.store import ExperimentStore
from serve_app.experiments.store.copying import copy_store
from serve_app.experiments.store.database import open_database
from serve_app.experiments.store.schema import OUTCOMES
from serve_app.experiments.store_errors import UsedStoreError
from tests.serve_app.experiments.store.builders import (
    START,
    assert_summaries_equal_rows,
    both_variants,
    definition,
    mirror,
    outcome,
    prediction,
)


@pytest.fixture
def filled(url):
    """The URL of a store with two experiments, predictions, outcomes and a history."""
    with ExperimentStore(url) as store:
        store.create_experiment(mirror(), START, by="bot", key="k")
        store.create_experiment(definition("e2", "other"), START)
        records = [
            record for number in range(1500) for record in both_variants(f"p{number}", number)
        ]
        store.write_predictions(records)
        store.write_predictions([prediction("alone", None)])
        store.record_outcomes([outcome(f"p{number}") for number in range(0, 1500, 2)])
    return url


@pytest.fixture
def target(tmp_path):
    return f"sqlite:///{tmp_path}/copy.db"


def test_copy(filled, target):
    copy_store(filled, target)
    with ExperimentStore(filled) as store, ExperimentStore(target) as copy:
        assert copy.experiments() == store.experiments()
        assert copy.history("e1") == store.history("e1")
        assert copy.blocks("e1") == store.blocks("e1")
        assert list(copy.predictions()) == list(store.predictions())
        assert_summaries_equal_rows(copy)
        assert copy.write_predictions([prediction("alone", None)]).repeated == 1


def test_copy_back(sqlite_url, url, tmp_path):
    """What was copied to a file can be copied to any database."""
    other = f"sqlite:///{tmp_path}/other.db"
    with ExperimentStore(other) as store:
        store.create_experiment(definition(), START)
        store.write_predictions([prediction("a", unit_id="bot é")])
    copy_store(other, url)
    with ExperimentStore(url) as store, ExperimentStore(other) as source:
        assert list(store.predictions()) == list(source.predictions())
        assert store.blocks("e1") == source.blocks("e1")


def test_used_target(filled, target):
    """Rows of the target are kept, and nothing is added to them."""
    with ExperimentStore(target) as store:
        store.write_predictions([prediction("own", None)])
    with pytest.raises(UsedStoreError, match="'predictions'; choose another database"):
        copy_store(filled, target)
    with ExperimentStore(target) as store:
        assert [found.prediction.prediction_id for found in store.predictions()] == ["own"]


def test_snapshot(url):
    """A snapshot does not see what is committed after its first read."""
    with ExperimentStore(url):
        database = open_database(url)
        with database.snapshot() as connection:
            assert connection.execute(OUTCOMES.select()).all() == []
            with database.writing() as other:
                row = {"prediction_id": "a", "market_return": 0.1, "received_s": 0.0}
                other.execute(insert(OUTCOMES).values(row))
            assert connection.execute(OUTCOMES.select()).all() == []
        with database.snapshot() as connection:
            assert len(connection.execute(OUTCOMES.select()).all()) == 1
        database.close()
