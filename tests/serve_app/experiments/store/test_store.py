"""Every record is stored and counted once, on SQLite and on PostgreSQL."""

import random
import threading
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, event

from serve_app.experiments import blocks
from serve_app.experiments.definition import EndReason, ExperimentStatus
from serve_app.experiments.prediction_ids import new_prediction_id
from serve_app.experiments.records import Variant
from serve_app.experiments.store import ExperimentStore, HistoryEntry, OutcomeResult
from serve_app.experiments.store_errors import (
    ExperimentExistsError,
    ModelInExperimentError,
    UnknownExperimentError,
)
from serve_app.experiments.summary import PairSummary, VariantSummary
from tests.serve_app.experiments.store.builders import (
    START,
    assert_summaries_equal_rows,
    both_variants,
    definition,
    mirror,
    outcome,
    prediction,
    total,
)

ACCEPTED, DUPLICATE, CONFLICT, UNRECORDED, UNKNOWN = OutcomeResult


def results(recorded):
    return [outcome.result for outcome in recorded]


@pytest.fixture
def store(url):
    with ExperimentStore(url) as store:
        store.create_experiment(definition(dead_band=0.001), START)
        yield store


def test_round_trip(store):
    """Predictions and outcomes are read back to the last bit."""
    records = [
        prediction("a", after_s=0.123456, treatment_share=0.1, expected_return=1 / 3),
        prediction("b", Variant.TREATMENT, 7.5, direction=0, confidence=None),
        prediction("c", Variant.TREATMENT, 8.0, error="timeout"),
        prediction("d", None, 9.0, symbol="Ünïcode 🚀"),
    ]
    store.write_predictions(records)
    store.record_outcomes([outcome("a", 1 / 7, after_s=99.000001)])
    read = list(store.predictions())
    assert [labelled.prediction for labelled in read] == records
    assert read[0].outcome == outcome("a", 1 / 7, after_s=99.000001)
    assert [labelled.outcome for labelled in read[1:]] == [None] * 3
    assert [labelled.prediction for labelled in store.predictions("e1")] == records[:3]


def test_numpy_numbers(store):
    """NumPy numbers are stored like Python numbers."""
    record = prediction(
        "a", direction=np.int64(2), confidence=np.float32(0.75), latency_ms=np.float32(1.5)
    )
    assert store.write_predictions([record]).written == 1
    store.record_outcomes([outcome("a", np.float64(0.25))])
    (read,) = store.predictions()
    assert (read.prediction, read.outcome.market_return) == (record, 0.25)
    assert_summaries_equal_rows(store)


def test_repeated_group(store):
    """A group that is sent twice is counted once."""
    group = [prediction(f"p{number}", after_s=number) for number in range(10)]
    first = store.write_predictions(group)
    again = store.write_predictions([*group, group[3], prediction("new"), prediction("new")])
    assert (first.written, first.repeated) == (10, 0)
    assert (again.written, again.repeated) == (1, 12)
    assert total(store, "control", "predictions") == 11
    assert_summaries_equal_rows(store)


def test_outcome_results(store):
    """Repeated outcomes are duplicates or conflicts; the first return is kept."""
    store.write_predictions([prediction("a"), prediction("b", Variant.TREATMENT)])
    sent = [outcome("b", -0.02), outcome("unknown"), outcome("a", 0.01), outcome("a", 0.01)]
    assert results(store.record_outcomes(sent)) == [ACCEPTED, UNKNOWN, ACCEPTED, DUPLICATE]
    late = [outcome("a", 0.01, after_s=9e6), outcome("a", 0.02), outcome("b", -0.02)]
    recorded = store.record_outcomes(late)
    assert results(recorded) == [DUPLICATE, CONFLICT, DUPLICATE]
    assert [result.stored_return for result in recorded] == [0.01, 0.01, -0.02]
    assert total(store, "control", "return_sum") == 0.01
    assert total(store, "treatment", "return_sum") == -0.02
    assert_summaries_equal_rows(store)


def test_conflict_within_list(store):
    """Within one list, too, the first return is kept."""
    store.write_predictions([prediction("a")])
    recorded = store.record_outcomes([outcome("a", 0.5), outcome("a", 0.25), outcome("a", 0.5)])
    assert results(recorded) == [ACCEPTED, CONFLICT, DUPLICATE]
    assert total(store, "control", "return_sum") == 0.5


def test_outcome_before_prediction(store):
    """An unknown outcome is accepted when it is sent again after its prediction."""
    assert results(store.record_outcomes([outcome("a")])) == [UNKNOWN]
    store.write_predictions([prediction("a")])
    assert results(store.record_outcomes([outcome("a")])) == [ACCEPTED]
    assert total(store, "control", "wins") == 1


def test_unrecorded_prediction(url):
    """An outcome shows whether its prediction was served by its id alone."""
    served = new_prediction_id(START)
    with ExperimentStore(url) as store:
        recorded = store.record_outcomes([outcome(served), outcome(served[::-1])])
    assert results(recorded) == [UNRECORDED, UNKNOWN]


def test_outcome_outside_experiments(store):
    """An outcome of a prediction outside experiments is stored, and changes no summary."""
    store.write_predictions([prediction("a", None)])
    assert results(store.record_outcomes([outcome("a")])) == [ACCEPTED]
    assert results(store.record_outcomes([outcome("a")])) == [DUPLICATE]
    assert store.blocks("e1") == []


def test_late_outcome(store):
    """An outcome that arrives days later is counted in the block of its prediction."""
    store.write_predictions([prediction("a", after_s=5), prediction("b", after_s=90_000)])
    store.record_outcomes([outcome("b", after_s=90_060), outcome("a", after_s=900_000)])
    first, second = store.blocks("e1")
    assert (first.control.labelled, second.control.labelled) == (1, 1)
    assert_summaries_equal_rows(store)


def test_outcome_after_end(store):
    """An outcome that arrives after the end of its experiment is counted."""
    store.write_predictions([prediction("a")])
    entry = HistoryEntry(time=START + timedelta(hours=1), action="stopped", details={})
    store.end_experiment("e1", EndReason.STOPPED, {}, entry)
    assert results(store.record_outcomes([outcome("a", after_s=7200)])) == [ACCEPTED]
    assert total(store, "control", "wins") == 1


@pytest.mark.parametrize("order", ["cto", "tco", "cot", "toc", "t+c o", "c o t c o"])
def test_mirrored_pair(url, order):
    """A mirrored pair is counted once, in any order of its parts.

    c is control's record, t treatment's, o the outcome; t+c are sent in one group.
    """
    with ExperimentStore(url) as store:
        store.create_experiment(mirror(), START)
        control, treatment = both_variants("a", after_s=3)
        groups = order.split() if " " in order else order
        for group in groups:
            if group == "o":
                store.record_outcomes([outcome("a", 0.01)])
            else:
                variants = {"c": control, "t": treatment}
                store.write_predictions([variants[part] for part in group.split("+")])
        (block,) = store.blocks("e1")
        assert block.pairs.pairs == block.pairs.labelled == 1
        assert block.pairs.latency_difference_sum == 0.75
        assert (block.control.return_sum, block.treatment.return_sum) == (0.01, -0.01)
        assert block.pairs.only_control_correct == 1
        assert_summaries_equal_rows(store)


def test_fallback_is_no_pair(store):
    """Records of both variants with one id are a pair only in mirror mode."""
    failed = prediction("a", Variant.TREATMENT, error="timeout")
    too_late = prediction("b", Variant.TREATMENT, latency_ms=9000.0)
    store.write_predictions([failed, prediction("a", Variant.CONTROL)])
    store.write_predictions([too_late, prediction("b", Variant.CONTROL)])
    store.record_outcomes([outcome("a"), outcome("b")])
    assert total(store, "pairs", "pairs") == total(store, "pairs", "labelled") == 0
    assert (total(store, "treatment", "errors"), total(store, "control", "labelled")) == (1, 2)
    assert_summaries_equal_rows(store)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"])
def test_unstorable_text(store, text):
    """A text that no database can store affects neither its group nor the summaries."""
    group = [prediction("a"), prediction("b", symbol=text), prediction(text), prediction("c")]
    written = store.write_predictions(group)
    assert [rejected.prediction_id for rejected in written.rejected] == ["b", text]
    assert written.written == 2
    assert results(store.record_outcomes([outcome(text), outcome("a")])) == [UNKNOWN, ACCEPTED]
    assert_summaries_equal_rows(store)
    with pytest.raises(UnknownExperimentError):
        store.experiment(text)


def test_unknown_experiment_of_prediction(store):
    """A prediction of an unknown experiment is rejected with the reason."""
    written = store.write_predictions([prediction("a", experiment_id="e9"), prediction("b")])
    assert written.written == 1
    assert "no experiment 'e9'" in written.rejected[0].reason
    assert results(store.record_outcomes([outcome("a")])) == [UNKNOWN]


def test_ended_experiment(store):
    """An ended experiment is stored with its report and its history."""
    report = {"recommendation": {"action": "promote"}, "p_value": 0.1 + 0.2}
    store.add_history("e1", HistoryEntry(time=START, action="exposed", details={"share": 0.05}))
    entry = HistoryEntry(time=START + timedelta(days=1), action="promoted", details=report)
    ended = store.end_experiment("e1", EndReason.PROMOTED, report, entry)
    assert ended == store.experiment("e1")
    assert (ended.status, ended.end_reason) == (ExperimentStatus.COMPLETED, EndReason.PROMOTED)
    assert (ended.started_at, ended.ended_at) == (START, entry.time)
    assert (ended.definition, ended.final_report) == (definition(dead_band=0.001), report)
    assert [entry.action for entry in store.history("e1")] == ["created", "exposed", "promoted"]
    assert store.history("e1")[2] == entry


def test_second_end(store):
    """An experiment that has ended cannot end again."""
    first = HistoryEntry(time=START + timedelta(hours=1), action="stopped", details={})
    ended = store.end_experiment("e1", EndReason.STOPPED, {"first": True}, first)
    later = HistoryEntry(time=START + timedelta(hours=2), action="promoted", details={})
    assert store.end_experiment("e1", EndReason.PROMOTED, {"first": False}, later) == ended
    assert [entry.action for entry in store.history("e1")] == ["created", "stopped"]


def test_unique_ids_and_models(store):
    """An id is used once, and a model is in one experiment at a time."""
    with pytest.raises(ExperimentExistsError, match=r"'e1' already exists.*running"):
        store.create_experiment(definition(), START)
    with pytest.raises(ModelInExperimentError, match=r"'e1' is running on model 'm'.*stop"):
        store.create_experiment(definition("e2"), START)
    store.create_experiment(definition("e3", model="other"), START + timedelta(seconds=1))
    store.end_experiment(
        "e1", EndReason.STOPPED, {}, HistoryEntry(time=START, action="stopped", details={})
    )
    store.create_experiment(definition("e4"), START + timedelta(seconds=2))
    stored = [experiment.definition.experiment_id for experiment in store.experiments()]
    assert stored == ["e1", "e3", "e4"]


def test_unknown_experiment(store):
    """Every method names the known experiments when it does not know the id."""
    entry = HistoryEntry(time=START, action="stopped", details={})
    for call in (
        lambda: store.experiment("x"),
        lambda: store.history("x"),
        lambda: store.blocks("x"),
        lambda: store.add_history("x", entry),
        lambda: store.end_experiment("x", EndReason.STOPPED, {}, entry),
    ):
        with pytest.raises(UnknownExperimentError, match=r"no experiment 'x'.*: e1"):
            call()


def test_two_stores(url, store):
    """A second store continues with what the first one wrote."""
    store.write_predictions([prediction("a")])
    with ExperimentStore(url) as other:
        assert results(other.record_outcomes([outcome("a")])) == [ACCEPTED]
        other.write_predictions([prediction("b")])
    assert results(store.record_outcomes([outcome("a"), outcome("b")])) == [DUPLICATE, ACCEPTED]
    assert_summaries_equal_rows(store)


def test_concurrent_writers(url, store):
    """Two stores with two threads each send the same records; each is counted once."""
    ids = [f"p{number}" for number in range(120)]
    accepted = []

    def send(to, seed):
        chance = random.Random(seed)
        for start in range(0, len(ids), 12):
            some = ids[start : start + 12]
            chance.shuffle(some)
            to.write_predictions([prediction(name, after_s=int(name[1:])) for name in some])
            recorded = results(to.record_outcomes([outcome(name) for name in some]))
            accepted.extend(result for result in recorded if result is ACCEPTED)

    with ExperimentStore(url) as other:
        threads = [
            threading.Thread(target=send, args=(to, seed))
            for seed, to in enumerate([store, store, other, other])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(accepted) == len(ids)
    assert total(store, "control", "predictions") == total(store, "control", "labelled") == 120
    assert_summaries_equal_rows(store)


def test_no_table_scans(sqlite_url):
    """No statement scans a whole table, as SQLite's query plans show: its time would grow."""
    plans = set()

    def explain(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            cursor.execute(
                f"EXPLAIN QUERY PLAN {statement}", parameters[0] if executemany else parameters
            )
            plans.update(f"{step[3]} in {statement}" for step in cursor.fetchall())

    with ExperimentStore(sqlite_url) as store:
        store.create_experiment(mirror(), START)
        event.listen(Engine, "before_cursor_execute", explain)
        try:
            for _ in range(2):
                control, treatment = both_variants("a")
                store.write_predictions([control, prediction("b", None)])
                store.record_outcomes([outcome("a"), outcome("b"), outcome("x")])
                store.write_predictions([treatment])
            store.delete_older_than(timedelta(days=1), now=START + timedelta(days=2))
        finally:
            event.remove(Engine, "before_cursor_execute", explain)
    big = ("predictions", "outcomes", "summaries")
    assert any(plan.startswith("SEARCH") for plan in plans)
    assert [plan for plan in plans if plan.startswith(tuple(f"SCAN {name}" for name in big))] == []


@pytest.mark.parametrize("seed", range(5))
def test_random_groups(url, seed):
    """After any mixture of groups the summaries equal the sums over the rows."""
    chance = random.Random(seed)
    with ExperimentStore(url) as store:
        store.create_experiment(mirror(), START)
        requests = [both_variants(f"p{n}", chance.uniform(0, 5000)) for n in range(60)]
        records = [
            variant for variants in requests for variant in variants if chance.random() < 0.9
        ]
        records += [prediction(f"q{n}", None) for n in range(10)]
        returned = {}
        for _ in range(40):
            store.write_predictions(chance.choices(records, k=chance.randrange(1, 12)))
            some = chance.choices(records, k=chance.randrange(1, 8))
            sent = [outcome(record.prediction_id, chance.choice([-0.01, 0.02])) for record in some]
            for recorded in store.record_outcomes(sent):
                prediction_id = recorded.outcome.prediction_id
                if recorded.result is ACCEPTED:
                    assert prediction_id not in returned
                    returned[prediction_id] = recorded.outcome.market_return
                elif recorded.result is not UNKNOWN:
                    assert returned[prediction_id] == recorded.stored_return
        assert_summaries_equal_rows(store)
        stored = {
            labelled.prediction.prediction_id: labelled.outcome.market_return
            for labelled in store.predictions()
            if labelled.outcome
        }
        assert stored == returned


def test_block_geometry():
    """Stored blocks have this geometry; other values need a migration."""
    assert (blocks.BLOCKS_PER_DOUBLING, blocks.SHORTEST_BLOCK_S) == (128, 0.125)


def test_summary_keys():
    """Stored summaries have these keys; other names need a migration, new ones need a default."""
    assert set(VariantSummary().to_dict()) >= {
        *("predictions", "errors", "share_sum", "share_variance_sum", "latency_sum"),
        *("latency_square_sum", "latency_bins", "first_s", "last_s", "confusion", "wins"),
        *("return_sum", "return_square_sum", "least_delay_s"),
    }
    assert set(PairSummary().to_dict()) >= {
        *("pairs", "latency_difference_sum", "latency_difference_square_sum", "labelled"),
        *("both_correct", "only_control_correct", "only_treatment_correct"),
        *("control_return_sum", "control_return_square_sum", "treatment_return_sum"),
        *("treatment_return_square_sum", "return_product_sum"),
    }


def test_history_names_the_author(store):
    """The history states who created an experiment, where that is known."""
    store.create_experiment(definition("e2", model="other"), START, by="alice")
    assert store.history("e2")[0].details == {"by": "alice"}


def test_experiment_is_created_once_per_key(store):
    """A call whose response was lost may be repeated; any other call with the id is an error."""
    create = lambda made, key, by="alice": store.create_experiment(made, START, "app", by, key)  # noqa: E731
    made = definition("e9", model="other", dead_band=0.1)
    assert create(made, "key") is True
    assert create(made, "key") is False
    for arguments in [(made, "key2"), (made, None), (made, "key", "bob")]:
        with pytest.raises(ExperimentExistsError):
            create(*arguments)
    with pytest.raises(ExperimentExistsError):
        create(definition("e9", model="other", dead_band=0.2), "key")
    entry = HistoryEntry(time=START, action="stopped", details={})
    store.end_experiment("e9", EndReason.STOPPED, {}, entry)
    with pytest.raises(ExperimentExistsError, match="completed"):
        create(made, "key")
    assert [entry.action for entry in store.history("e9")] == ["created", "stopped"]
    assert store.history("e1")[0].details == {}
