"""After SIGKILL at any time no acknowledged record is lost, and none is counted twice."""

import random
import threading
import time

import pytest

from serve_app.experiments.records import Outcome, Variant
from serve_app.experiments.store import ExperimentStore, OutcomeResult
from serve_app.experiments.store_errors import UnavailableStoreError
from tests.serve_app.experiments.store.builders import (
    START,
    assert_summaries_equal_rows,
    assert_units_equal_rows,
    both_variants,
    definition,
    mirror,
    newest_units,
    outcome,
    prediction,
    total,
)
from tests.serve_app.experiments.store.dying import Writer, send

pytestmark = pytest.mark.slow


@pytest.fixture
def store(url):
    with ExperimentStore(url) as store:
        store.create_experiment(mirror(), START)
        yield store


def script(name):
    """Return groups with late pairs, failed predictions and repeated outcomes."""
    control, treatment = both_variants(f"{name}-a", after_s=1)
    pair = both_variants(f"{name}-b", after_s=2)
    outside = prediction(f"{name}-c", None)
    first = [control, *pair, outside]
    return [
        first,
        [outcome(f"{name}-a"), outcome(f"{name}-c")],
        [treatment, prediction(f"{name}-d", Variant.TREATMENT, error="timeout")],
        [outcome(f"{name}-b", -0.02), outcome(f"{name}-a"), outcome(f"{name}-d")],
        first,
    ]


def assert_kept(store, acknowledged):
    """Check that acknowledged outcomes are stored and that the summaries equal the rows."""
    sent = [record for group in acknowledged for record in group if isinstance(record, Outcome)]
    for recorded in store.record_outcomes(sent):
        assert recorded.result is OutcomeResult.DUPLICATE
    assert_summaries_equal_rows(store)


def test_killed_between_statements(url, store):
    """A process is killed before each of its statements and commits; then all is sent again.

    Acknowledged records are there, and after the repetition everything is counted once.
    """
    deaths = []
    for step in range(1, 200):
        groups = script(f"s{step}")
        acknowledged, killed = Writer(url, groups, dies_before=step).end()
        assert_kept(store, groups[:acknowledged])
        for group in groups:
            send(store, group)
        assert_kept(store, groups)
        assert total(store, "pairs", "pairs") == total(store, "pairs", "labelled") == 2 * step
        assert total(store, "control", "labelled") == 2 * step
        assert total(store, "treatment", "predictions") == 3 * step
        assert total(store, "treatment", "errors") == step
        if not killed:
            break
        deaths.append(acknowledged)
    assert not killed
    assert set(deaths) == set(range(len(groups)))


def test_killed_between_statements_of_units(url, store):
    """The sums per unit and their totals are changed with the rows or not at all."""
    store.create_experiment(definition("units", "m2", assignment="unit_id"), START)
    killed, step = True, 0
    while killed:
        step += 1
        groups = units_script(f"s{step}")
        _, killed = Writer(url, groups, dies_before=step).end()
        assert_units_equal_rows(store, "units")
        for group in groups:
            send(store, group)
        assert_units_equal_rows(store, "units")
        assert newest_units(store, "units").labelled == [1 + step, 1]
    assert step > 10


def units_script(name):
    """Return predictions of a bot in each variant and of a unit of its own, and their outcomes."""
    fields = {"experiment_id": "units", "treatment_share": 0.1}
    records = [
        prediction(f"{name}-a", unit_id="a", **fields),
        prediction(f"{name}-b", Variant.TREATMENT, unit_id="b", **fields),
        prediction(f"{name}-c", **fields),
    ]
    return [records, [outcome(record.prediction_id) for record in records]]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_during_migration(kind, request, tmp_path):
    """After a kill between any two statements of the migration, the next process completes it."""
    killed, step = True, 0
    while killed:
        step += 1
        url = f"sqlite:///{tmp_path}/{step}.db"
        if kind == "postgresql":
            url = request.getfixturevalue("postgresql").create_schema()
        _, killed = Writer(url, [], dies_before=step).end()
        with ExperimentStore(url) as store:
            store.create_experiment(mirror(), START)
            store.write_predictions([prediction("a")])
            assert_summaries_equal_rows(store)
    assert step > 10


@pytest.mark.parametrize(
    "kills", [15, pytest.param(200, marks=pytest.mark.nightly)], ids=lambda kills: f"{kills} kills"
)
def test_killed_at_random_times(url, store, kills):
    """After a kill at a random time, every acknowledged record is stored once."""
    chance = random.Random(kills)
    everything = []
    for number in range(kills):
        groups = [group for part in range(40) for group in script(f"r{number}-{part}")]
        writer = Writer(url, groups)
        writer.wait_for_first()
        time.sleep(chance.uniform(0, 0.15))
        writer.kill()
        acknowledged, _ = writer.end()
        assert_kept(store, groups[:acknowledged])
        # The sender repeats some groups before the last acknowledged one.
        again = groups[max(0, acknowledged - 2) : acknowledged + 3]
        for group in again:
            send(store, group)
        everything += groups[: acknowledged + 3]
    assert_kept(store, everything)


def test_killed_postgresql_server(mortal_postgresql):
    """After a kill of the server the store raises errors; once it is back, nothing is missing."""
    with ExperimentStore(mortal_postgresql.create_schema()) as store:
        store.create_experiment(mirror(), START)
        groups = [group for part in range(2000) for group in script(f"k{part}")]
        acknowledged = 0
        enough = threading.Event()
        failure = None

        def write():
            nonlocal acknowledged, failure
            for group in groups:
                try:
                    send(store, group)
                except UnavailableStoreError as error:
                    failure = error
                    return
                acknowledged += 1
                if acknowledged == 20:
                    enough.set()

        writing = threading.Thread(target=write)
        writing.start()
        assert enough.wait(60)
        mortal_postgresql.kill()
        writing.join(60)
        assert "not available" in str(failure)
        with pytest.raises(UnavailableStoreError, match="check that it is running"):
            store.record_outcomes([outcome("k0-a")])
        mortal_postgresql.start()
        assert_kept(store, groups[:acknowledged])
        for group in groups[: acknowledged + 3]:
            send(store, group)
        assert_kept(store, groups[: acknowledged + 3])
