"""A database of experiments written by release 0.1.0 is opened without loss.

The dump is compared with what the store returns: values row by row, and each experiment's analysis
with the one that the old code computed from the same rows.
"""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from serve_app.experiments.analysis import analyse
from serve_app.experiments.exposure import with_recorded_exposure
from serve_app.experiments.history import OutcomeResult
from serve_app.experiments.records import Outcome
from serve_app.experiments.store import ExperimentStore
from tests.upgrade.present_form import present

PROSE = {"assumptions", "basis", "explanation", "reasons", "test", "valid"}
"""Keys of an analysis whose texts a release may word differently."""


def rows(path, table, order):
    """Return the rows of a table in the file, as dictionaries by column name."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()
    return [dict(row) for row in found]


def time_of(seconds):
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@pytest.fixture
def before(database_path):
    """The tables as the old release wrote them."""
    return {
        "experiments": rows(database_path, "experiments", "started_s, experiment_id"),
        "history": rows(database_path, "experiment_history", "experiment_id, number"),
        "predictions": rows(database_path, "predictions", "time_s, prediction_id, variant"),
        "outcomes": {
            row["prediction_id"]: row for row in rows(database_path, "outcomes", "prediction_id")
        },
        "summaries": rows(database_path, "summaries", "experiment_id, block, variant"),
        "unit_sums": rows(database_path, "unit_sums", "experiment_id, unit, variant"),
        "retention": rows(database_path, "retention", "before_s"),
    }


@pytest.fixture
def store(before, database_path):
    with ExperimentStore(f"sqlite:///{database_path}") as store:
        yield store


def without_prose(document):
    """Return an analysis without its texts."""
    if isinstance(document, dict):
        return {name: without_prose(value) for name, value in document.items() if name not in PROSE}
    if isinstance(document, list):
        return [without_prose(value) for value in document]
    return document


def nearly(document):
    """Return an analysis that equals another one up to rounding."""
    if isinstance(document, dict):
        return {name: nearly(value) for name, value in document.items()}
    if isinstance(document, list):
        return [nearly(value) for value in document]
    return pytest.approx(document, rel=1e-9) if isinstance(document, float) else document


def test_experiments(store, before):
    """Each experiment keeps its definition, its times, its end reason and its final report."""
    found = store.experiments()
    assert len(found) == 7
    for experiment, row in zip(found, before["experiments"], strict=True):
        definition = json.loads(experiment.definition.model_dump_json())
        assert definition == present(json.loads(row["definition"]))
        assert (experiment.status, experiment.end_reason) == (row["status"], row["end_reason"])
        assert experiment.started_at == time_of(row["started_s"])
        assert experiment.ended_at == time_of(row["ended_s"])
        report = row["final_report"] and json.loads(row["final_report"])
        assert experiment.final_report == report


def test_applications(store, old):
    """An experiment stays with its application; without one, it belongs to all."""
    names = [entry.definition.experiment_id for entry in store.experiments("another")]
    assert names == old["of_another_application"] == ["switched"]
    running = [entry.definition.experiment_id for entry in store.running("trading-models")]
    assert running == ["by_bot", "staged"]


def test_history(store, before):
    """Each entry of the history keeps its place, time, action and details."""
    found = [
        (name, number, entry.time, entry.action, entry.details)
        for name in sorted({row["experiment_id"] for row in before["history"]})
        for number, entry in enumerate(store.history(name))
    ]
    assert found == [
        (
            row["experiment_id"],
            row["number"],
            time_of(row["time_s"]),
            row["action"],
            json.loads(row["details"]),
        )
        for row in before["history"]
    ]
    actions = {action for _, _, _, action, _ in found}
    assert actions >= {"created", "exposed", "promoting", "promoted", "superseded", "ended"}


def test_exposure(store):
    """A running experiment continues at the last exposure step of its history."""
    experiment = store.experiment("staged")
    running = with_recorded_exposure(experiment, store.history("staged"))
    assert running.treatment_share == 0.25
    assert running.exposed_at == store.history("staged")[2].time


def test_predictions_and_outcomes(store, before):
    """Each prediction and each outcome keeps every value, also those outside experiments."""
    found = list(store.predictions())
    assert len(found) == len(before["predictions"]) > 150
    for labelled, row in zip(found, before["predictions"], strict=True):
        record = labelled.prediction
        assert record.time == time_of(row.pop("time_s"))
        assert (record.variant or "") == row.pop("variant")
        assert {name: getattr(record, name) for name in row} == row
        outcome = before["outcomes"].get(record.prediction_id)
        if outcome is None:
            assert labelled.outcome is None
        else:
            assert labelled.outcome.market_return == outcome["market_return"]
            assert labelled.outcome.time == time_of(outcome["received_s"])


def test_analyses(store, old):
    """Each experiment's analysis has the values that the old code computed."""
    for name, document in old["analyses"].items():
        experiment = store.experiment(name)
        analysis = analyse(
            experiment.definition, experiment.clock, store.blocks(name), status=experiment.status
        )
        found = json.loads(json.dumps(analysis.document))
        assert without_prose(found) == nearly(without_prose(document)), name


def test_sums(store, before, database_path):
    """The rows of summaries, of sums per unit and of the retention limit are unchanged."""
    assert before["unit_sums"] != []
    for table, order in (
        ("summaries", "experiment_id, block, variant"),
        ("unit_sums", "experiment_id, unit, variant"),
        ("retention", "before_s"),
    ):
        assert rows(database_path, table, order) == before[table]


def test_repeated_writes(store):
    """Records of the old release that are sent again are duplicates, and are counted once."""
    predictions = [row for row in store.predictions("by_bot") if row.outcome is not None]
    summaries = [block.control.to_dict() for block in store.blocks("by_bot")]
    written = store.write_predictions([row.prediction for row in predictions])
    assert (written.written, written.repeated) == (0, len(predictions))
    recorded = store.record_outcomes([row.outcome for row in predictions])
    assert {result.result for result in recorded} == {OutcomeResult.DUPLICATE}
    assert [block.control.to_dict() for block in store.blocks("by_bot")] == summaries


def newest_units(store):
    return [block.units for block in store.blocks("by_bot") if block.units is not None][-1]


def count_labelled(store):
    blocks = store.blocks("by_bot")
    return sum(block.control.labelled + block.treatment.labelled for block in blocks)


def test_new_outcomes(store):
    """An outcome of an old prediction is accepted and added to the sums of its bot."""
    waiting = [
        labelled.prediction.prediction_id
        for labelled in store.predictions("by_bot")
        if labelled.outcome is None and labelled.prediction.error is None
    ]
    count, units = count_labelled(store), newest_units(store)
    late = [
        Outcome(prediction_id=prediction_id, market_return=0.001, time=datetime.now(UTC))
        for prediction_id in waiting
    ]
    assert {result.result for result in store.record_outcomes(late)} == {OutcomeResult.ACCEPTED}
    assert count_labelled(store) == count + len(late)
    assert newest_units(store).seen == units.seen
    assert newest_units(store).sums[0] > units.sums[0]
