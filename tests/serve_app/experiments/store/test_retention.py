"""Old predictions are deleted; the summaries keep them, and they are not counted again."""

import threading
from datetime import timedelta

import pytest

from serve_app.errors import InvalidRequestError
from serve_app.experiments.records import Variant
from serve_app.experiments.store import ExperimentStore, OutcomeResult
from serve_app.experiments.store.store import DELETED_AT_ONCE
from tests.serve_app.experiments.store.builders import (
    START,
    both_variants,
    mirror,
    outcome,
    prediction,
    total,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def store(url):
    with ExperimentStore(url) as store:
        store.create_experiment(mirror(), START)
        yield store


def day(number):
    return START + timedelta(days=number)


def at_day(number):
    return number * 86_400.0


def delete_before(store, before, **options):
    age = timedelta(days=10)
    return store.delete_older_than(age, now=before + age, **options)


def test_summaries_stay(store):
    """Old predictions are deleted, and the summaries that include them are unchanged."""
    old, new = both_variants("old", at_day(1)), both_variants("new", at_day(5))
    store.write_predictions([*old, *new, prediction("outside", None, at_day(1))])
    store.record_outcomes([outcome(prediction_id) for prediction_id in ("old", "new", "outside")])
    before = store.blocks("e1")
    assert delete_before(store, day(3)) == 3
    assert [labelled.prediction for labelled in store.predictions()] == list(new)
    assert store.blocks("e1") == before
    assert delete_before(store, day(3)) == 0


def test_deleted_sent_again(store):
    """A deleted prediction that is sent again is rejected, not counted twice."""
    old = both_variants("old", at_day(1))
    store.write_predictions(old)
    store.record_outcomes([outcome("old")])
    before = store.blocks("e1")
    delete_before(store, day(3))
    written = store.write_predictions([*old, prediction("new", after_s=at_day(3))])
    assert written.written == 1
    reasons = [rejected.reason for rejected in written.rejected]
    assert reasons == ["the prediction is older than the retention period"] * 2
    (recorded,) = store.record_outcomes([outcome("old")])
    assert recorded.result is OutcomeResult.UNKNOWN
    assert store.blocks("e1")[0] == before[0]
    assert total(store, "control", "predictions") == 2


def test_earlier_limit(store):
    """A later call with an earlier limit does not lift the first limit."""
    delete_before(store, day(3))
    assert delete_before(store, day(1)) == 0
    written = store.write_predictions([prediction("a", after_s=at_day(2))])
    assert written.written == 0


def test_outcome_of_remaining_variant(store):
    """An outcome is kept while one variant of its prediction is."""
    control = prediction("a", Variant.CONTROL, at_day(1), mirrored=True)
    treatment = prediction("a", Variant.TREATMENT, at_day(1) + 1, mirrored=True)
    store.write_predictions([control, treatment])
    store.record_outcomes([outcome("a")])
    assert delete_before(store, day(1) + timedelta(seconds=1)) == 1
    (recorded,) = store.record_outcomes([outcome("a")])
    assert recorded.result is OutcomeResult.DUPLICATE


def test_bounded_transactions(store):
    """Many predictions are deleted in several transactions."""
    count = 2 * DELETED_AT_ONCE + 1
    store.write_predictions([prediction(f"p{n}", after_s=n / 1000) for n in range(count)])
    store.record_outcomes([outcome(f"p{n}") for n in range(count)])
    assert delete_before(store, day(1), pause_s=0) == count
    assert list(store.predictions()) == []
    (recorded,) = store.record_outcomes([outcome("p0")])
    assert recorded.result is OutcomeResult.UNKNOWN
    assert total(store, "control", "labelled") == count


def test_writing_during_deletion(store):
    """Outcomes are written between two transactions of a deletion, not only after it."""
    count = 5 * DELETED_AT_ONCE
    store.write_predictions([prediction(f"p{n}", after_s=n / 1000) for n in range(count)])
    store.write_predictions([prediction(f"new{n}", after_s=at_day(2)) for n in range(1000)])
    deleting = threading.Thread(target=delete_before, args=(store, day(1)))
    deleting.start()
    acknowledged = 0
    while deleting.is_alive():
        store.record_outcomes([outcome(f"new{acknowledged}")])
        acknowledged += 1
    assert acknowledged > 4
    assert len(list(store.predictions())) == 1000


@pytest.mark.parametrize("age", [timedelta(0), timedelta(days=-1)])
def test_age_not_positive(store, age):
    """An age that would reject new predictions is rejected."""
    with pytest.raises(InvalidRequestError, match="age: expected more than 0"):
        store.delete_older_than(age, now=day(1))
    assert store.write_predictions([prediction("a")]).written == 1
