"""Ids of predictions tell that they were issued, and when."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from serve_app.experiments.prediction_ids import issue_time, new_prediction_id

NOW = datetime(2026, 1, 5, 9, 30, 15, 123_000, tzinfo=UTC)


def test_issue_time():
    """An id holds the time of its issue, in milliseconds."""
    for hours in (0, 1, 24 * 365 * 40):
        now = NOW + timedelta(hours=hours)
        assert issue_time(new_prediction_id(now)) == now


def test_uuid():
    """An id is a UUID of version 8, and no two are the same."""
    ids = [new_prediction_id(NOW) for _ in range(1000)]
    parsed = [uuid.UUID(text) for text in ids]
    assert {(one.version, one.variant) for one in parsed} == {(8, uuid.RFC_4122)}
    assert len(set(ids)) == 1000


def test_later_ids_sort_behind():
    assert new_prediction_id(NOW) < new_prediction_id(NOW + timedelta(milliseconds=1))


@pytest.mark.parametrize(
    "text", ["", "order-42", "é" * 32, "8" * 32, uuid.UUID(int=0).hex, "0" * 33]
)
def test_foreign_ids(text):
    assert issue_time(text) is None


def test_random_uuids_were_not_issued():
    assert all(issue_time(uuid.uuid4().hex) is None for _ in range(1000))


def test_mistyped_ids():
    """A changed digit, or two that are swapped, do not pass for an issued id."""
    known = "019b8d7e2cd38fe484a4cd82ea3487d6"
    assert issue_time(known) == NOW
    for index, digit in enumerate(known):
        for other in set("0123456789abcdef") - {digit}:
            assert issue_time(known[:index] + other + known[index + 1 :]) is None
    swapped = known[:30] + known[31] + known[30]
    assert issue_time(swapped) is None
