"""What is stored is counted once, on SQLite and on PostgreSQL."""

import random
import threading
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, event

from serve_app.experiments import blocks
from serve_app.experiments.definition import EndReason, ExperimentStatus
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

ACCEPTED, DUPLICATE, CONFLICT, UNKNOWN = OutcomeResult


def results(recorded):
    return [each.result for each in recorded]


@pytest.fixture
def store(url):
    with ExperimentStore(url) as store:
        store.create_experiment(definition(dead_band=0.001), START)
        yield store


def test_what_is_written_is_read_back_to_the_last_bit(store):
    records = [
        prediction("a", after_s=0.123456, treatment_share=0.1, expected_return=1 / 3),
        prediction("b", Variant.TREATMENT, 7.5, direction=0, confidence=None),
        prediction("c", Variant.TREATMENT, 8.0, error="timeout"),
        prediction("d", None, 9.0, symbol="Ünïcode 🚀"),
    ]
    store.write_predictions(records)
    store.record_outcomes([outcome("a", 1 / 7, after_s=99.000001)])
    read = list(store.predictions())
    assert [each.prediction for each in read] == records
    assert read[0].outcome == outcome("a", 1 / 7, after_s=99.000001)
    assert [each.outcome for each in read[1:]] == [None] * 3
    assert [each.prediction for each in store.predictions("e1")] == records[:3]


def test_numbers_of_numpy_are_stored_as_well(store):
    record = prediction(
        "a", direction=np.int64(2), confidence=np.float32(0.75), latency_ms=np.float32(1.5)
    )
    assert store.write_predictions([record]).written == 1
    store.record_outcomes([outcome("a", np.float64(0.25))])
    (read,) = store.predictions()
    assert (read.prediction, read.outcome.market_return) == (record, 0.25)
    assert_summaries_equal_rows(store)


def test_a_group_sent_twice_counts_once(store):
    group = [prediction(f"p{number}", after_s=number) for number in range(10)]
    first = store.write_predictions(group)
    again = store.write_predictions([*group, group[3], prediction("new"), prediction("new")])
    assert (first.written, first.repeated) == (10, 0)
    assert (again.written, again.repeated) == (1, 12)
    assert total(store, "control", "predictions") == 11
    assert_summaries_equal_rows(store)


def test_outcomes_as_the_contract_has_them(store):
    store.write_predictions([prediction("a"), prediction("b", Variant.TREATMENT)])
    sent = [outcome("b", -0.02), outcome("nobody"), outcome("a", 0.01), outcome("a", 0.01)]
    assert results(store.record_outcomes(sent)) == [ACCEPTED, UNKNOWN, ACCEPTED, DUPLICATE]
    late = [outcome("a", 0.01, after_s=9e6), outcome("a", 0.02), outcome("b", -0.02)]
    recorded = store.record_outcomes(late)
    assert results(recorded) == [DUPLICATE, CONFLICT, DUPLICATE]
    assert [each.stored_return for each in recorded] == [0.01, 0.01, -0.02]
    assert total(store, "control", "return_sum") == 0.01
    assert total(store, "treatment", "return_sum") == -0.02
    assert_summaries_equal_rows(store)


def test_a_contradiction_within_one_list_leaves_the_first(store):
    store.write_predictions([prediction("a")])
    recorded = store.record_outcomes([outcome("a", 0.5), outcome("a", 0.25), outcome("a", 0.5)])
    assert results(recorded) == [ACCEPTED, CONFLICT, DUPLICATE]
    assert total(store, "control", "return_sum") == 0.5


def test_an_outcome_that_was_unknown_counts_when_it_comes_again_after_its_prediction(store):
    assert results(store.record_outcomes([outcome("a")])) == [UNKNOWN]
    store.write_predictions([prediction("a")])
    assert results(store.record_outcomes([outcome("a")])) == [ACCEPTED]
    assert total(store, "control", "wins") == 1


def test_an_outcome_outside_experiments_is_stored(store):
    store.write_predictions([prediction("a", None)])
    assert results(store.record_outcomes([outcome("a")])) == [ACCEPTED]
    assert results(store.record_outcomes([outcome("a")])) == [DUPLICATE]
    assert store.blocks("e1") == []


def test_an_outcome_days_later_counts_in_its_predictions_block(store):
    store.write_predictions([prediction("a", after_s=5), prediction("b", after_s=90_000)])
    store.record_outcomes([outcome("b", after_s=90_060), outcome("a", after_s=900_000)])
    first, second = store.blocks("e1")
    assert (first.control.labelled, second.control.labelled) == (1, 1)
    assert_summaries_equal_rows(store)


def test_an_outcome_after_the_end_of_its_experiment_still_counts(store):
    store.write_predictions([prediction("a")])
    entry = HistoryEntry(time=START + timedelta(hours=1), action="stopped", details={})
    store.end_experiment("e1", EndReason.STOPPED, {}, entry)
    assert results(store.record_outcomes([outcome("a", after_s=7200)])) == [ACCEPTED]
    assert total(store, "control", "wins") == 1


@pytest.mark.parametrize("order", ["cto", "tco", "cot", "toc", "t+c o", "c o t c o"])
def test_a_mirrored_pair_counts_once_in_whatever_order_its_parts_come(url, order):
    """c is control's record, t treatment's, o the outcome; c+t come in one group."""
    with ExperimentStore(url) as store:
        store.create_experiment(mirror(), START)
        control, treatment = both_variants("a", after_s=3)
        groups = order.split() if " " in order else order
        for group in groups:
            if group == "o":
                store.record_outcomes([outcome("a", 0.01)])
            else:
                variants = {"c": control, "t": treatment}
                store.write_predictions([variants[each] for each in group.split("+")])
        (block,) = store.blocks("e1")
        assert block.pairs.pairs == block.pairs.labelled == 1
        assert block.pairs.latency_difference_sum == 0.75
        assert (block.control.return_sum, block.treatment.return_sum) == (0.01, -0.01)
        assert block.pairs.only_control_correct == 1
        assert_summaries_equal_rows(store)


def test_variants_that_share_an_id_without_mirroring_are_no_pair(store):
    """The circuit breaker: control answers, and the record says that treatment failed."""
    failed = prediction("a", Variant.TREATMENT, error="timeout")
    too_late = prediction("b", Variant.TREATMENT, latency_ms=9000.0)
    store.write_predictions([failed, prediction("a", Variant.CONTROL)])
    store.write_predictions([too_late, prediction("b", Variant.CONTROL)])
    store.record_outcomes([outcome("a"), outcome("b")])
    assert total(store, "pairs", "pairs") == total(store, "pairs", "labelled") == 0
    assert (total(store, "treatment", "errors"), total(store, "control", "labelled")) == (1, 2)
    assert_summaries_equal_rows(store)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"])
def test_a_text_that_no_database_holds_harms_neither_its_group_nor_the_summaries(store, text):
    group = [prediction("a"), prediction("b", symbol=text), prediction(text), prediction("c")]
    written = store.write_predictions(group)
    assert (written.written, [each.prediction_id for each in written.refused]) == (2, ["b", text])
    assert results(store.record_outcomes([outcome(text), outcome("a")])) == [UNKNOWN, ACCEPTED]
    assert_summaries_equal_rows(store)
    with pytest.raises(UnknownExperimentError):
        store.experiment(text)


def test_a_prediction_of_an_unknown_experiment_is_refused_with_the_reason(store):
    written = store.write_predictions([prediction("a", experiment_id="e9"), prediction("b")])
    assert written.written == 1
    assert "no experiment 'e9'" in written.refused[0].reason
    assert results(store.record_outcomes([outcome("a")])) == [UNKNOWN]


def test_experiments_are_kept_with_their_report_and_history(store):
    report = {"recommendation": {"action": "promote"}, "p_value": 0.1 + 0.2}
    store.add_history("e1", HistoryEntry(time=START, action="exposed", details={"share": 0.05}))
    entry = HistoryEntry(time=START + timedelta(days=1), action="promoted", details=report)
    ended = store.end_experiment("e1", EndReason.PROMOTED, report, entry)
    assert ended == store.experiment("e1")
    assert (ended.status, ended.end_reason) == (ExperimentStatus.COMPLETED, EndReason.PROMOTED)
    assert (ended.started_at, ended.ended_at) == (START, entry.time)
    assert (ended.definition, ended.final_report) == (definition(dead_band=0.001), report)
    assert [each.action for each in store.history("e1")] == ["created", "exposed", "promoted"]
    assert store.history("e1")[2] == entry


def test_the_first_end_stands(store):
    first = HistoryEntry(time=START + timedelta(hours=1), action="stopped", details={})
    ended = store.end_experiment("e1", EndReason.STOPPED, {"first": True}, first)
    later = HistoryEntry(time=START + timedelta(hours=2), action="promoted", details={})
    assert store.end_experiment("e1", EndReason.PROMOTED, {"first": False}, later) == ended
    assert [each.action for each in store.history("e1")] == ["created", "stopped"]


def test_an_id_is_used_once_and_a_model_is_in_one_experiment_at_a_time(store):
    with pytest.raises(ExperimentExistsError, match=r"'e1' already exists.*running"):
        store.create_experiment(definition(), START)
    with pytest.raises(ModelInExperimentError, match=r"'e1' is running on model 'm'.*stop"):
        store.create_experiment(definition("e2"), START)
    store.create_experiment(definition("e3", model="other"), START + timedelta(seconds=1))
    store.end_experiment(
        "e1", EndReason.STOPPED, {}, HistoryEntry(time=START, action="stopped", details={})
    )
    store.create_experiment(definition("e4"), START + timedelta(seconds=2))
    assert [each.definition.experiment_id for each in store.experiments()] == ["e1", "e3", "e4"]


def test_what_is_unknown_is_refused_naming_what_is_known(store):
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


def test_what_a_store_wrote_another_opened_later_goes_on_with(url, store):
    store.write_predictions([prediction("a")])
    with ExperimentStore(url) as other:
        assert results(other.record_outcomes([outcome("a")])) == [ACCEPTED]
        other.write_predictions([prediction("b")])
    assert results(store.record_outcomes([outcome("a"), outcome("b")])) == [DUPLICATE, ACCEPTED]
    assert_summaries_equal_rows(store)


def test_four_writers_that_send_the_same_things_count_them_once(url, store):
    """Two stores with two threads each; every prediction and outcome is sent four times."""
    ids = [f"p{number}" for number in range(120)]
    accepted = []

    def send(to, seed):
        chance = random.Random(seed)
        for start in range(0, len(ids), 12):
            some = ids[start : start + 12]
            chance.shuffle(some)
            to.write_predictions([prediction(each, after_s=int(each[1:])) for each in some])
            recorded = to.record_outcomes([outcome(each) for each in some])
            accepted.extend(each for each in recorded if each.result is ACCEPTED)

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


def test_no_write_looks_through_a_whole_table(sqlite_url):
    """So that its time does not grow with what is stored; SQLite tells how it would proceed."""
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
def test_any_mixture_of_groups_leaves_summaries_that_equal_the_rows(url, seed):
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
            sent = [outcome(each.prediction_id, chance.choice([-0.01, 0.02])) for each in some]
            for each in store.record_outcomes(sent):
                if each.result is ACCEPTED:
                    assert each.outcome.prediction_id not in returned
                    returned[each.outcome.prediction_id] = each.outcome.market_return
                elif each.result is not UNKNOWN:
                    assert returned[each.outcome.prediction_id] == each.stored_return
        assert_summaries_equal_rows(store)
        stored = {e.prediction.prediction_id: e.outcome for e in store.predictions() if e.outcome}
        assert {key: each.market_return for key, each in stored.items()} == returned


def test_how_blocks_are_cut_is_part_of_what_is_stored():
    """A running experiment's blocks were cut like this; other values need a migration of theirs."""
    assert (blocks.BLOCKS_PER_DOUBLING, blocks.SHORTEST_BLOCK_S) == (128, 0.125)


def test_the_names_in_stored_summaries_stay():
    """Other names need a migration; a new one must mean nothing when it is absent."""
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
