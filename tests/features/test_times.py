from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.bars import EARLIEST_MS, LATEST_MS, Rejection
from features.errors import InvalidTimeError
from features.times import iso, parse_time, parse_times


@pytest.mark.parametrize(
    "value",
    [
        1767605400000,
        "2026-01-05T09:30:00Z",
        "2026-01-05T04:30:00-05:00",
        "2026-01-05 10:30:00.000+01:00",
        datetime.fromisoformat("2026-01-05T09:30:00+00:00"),
    ],
)
def test_parse(value):
    """A time with a zone and milliseconds denote the same instant."""
    assert parse_time(value) == 1767605400000


@pytest.mark.parametrize(
    "value",
    ["2026-01-05T09:30:00", "yesterday", "", None, True, 1.5, 10**17, "2026-01-05T09:30:00.0001Z"],
)
def test_invalid(value):
    """Anything else is rejected, and the error shows it."""
    with pytest.raises(InvalidTimeError, match="use ISO 8601 with a zone"):
        parse_time(value)


def test_parse_times():
    """Each time without a zone, or that is none, has the code of its reason."""
    times, problems = parse_times([0, "2026-01-05T09:30:00", "x", "1970-01-01T00:00:01Z"])
    codes = [0, Rejection.NO_TIME_ZONE.code, Rejection.NOT_A_TIME.code, 0]
    assert (times[[0, 3]].tolist(), problems.tolist()) == ([0, 1000], codes)


@settings(deadline=None)
@given(st.integers(EARLIEST_MS, LATEST_MS))
def test_iso(time_ms):
    """A time is the same after writing and parsing it."""
    assert parse_time(iso(time_ms)) == time_ms
