"""Times as clients write them: ISO 8601 with a zone, or milliseconds since 1970 in UTC."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from features.bars import EARLIEST_MS, LATEST_MS, Rejection
from features.errors import InvalidTimeError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
NO_ZONE = "without a time zone"


def parse_time(value: object) -> int:
    """Return a time in milliseconds since 1970 in UTC.

    Args:
        value: ISO 8601 with a zone, an aware datetime, or milliseconds since 1970.

    Raises:
        InvalidTimeError: it is none of these, has no zone, or is more precise than milliseconds.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if not EARLIEST_MS <= value <= LATEST_MS:
            raise InvalidTimeError(str(value), "which is outside the years 1 to 9999")
        return int(value)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidTimeError(str(value), "which is not ISO 8601") from None
    if not isinstance(value, datetime):
        raise InvalidTimeError(repr(value), "which is not a time")
    if value.tzinfo is None:
        raise InvalidTimeError(value.isoformat(), NO_ZONE)
    milliseconds, rest = divmod(value - _EPOCH, _MILLISECOND)
    if rest:
        raise InvalidTimeError(value.isoformat(), "which is more precise than milliseconds")
    return milliseconds


def parse_times(values: Sequence[object]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return times and, for each one, 0 or the code of the rejection that its bar receives."""
    times = np.zeros(len(values), np.int64)
    problems = np.zeros(len(values), np.uint8)
    for index, value in enumerate(values):
        try:
            times[index] = parse_time(value)
        except InvalidTimeError as error:
            has_zone = error.problem != NO_ZONE
            problem = Rejection.NOT_A_TIME if has_zone else Rejection.NO_TIME_ZONE
            problems[index] = problem.code
    return times, problems


def iso(time_ms: int) -> str:
    """Return a time in ISO 8601, in UTC."""
    return (_EPOCH + time_ms * _MILLISECOND).isoformat().replace("+00:00", "Z")
