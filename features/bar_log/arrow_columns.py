"""Columns of Arrow data as times and numbers."""

import re
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.bars import Floats, Ints, Rejection
from features.errors import InvalidColumnsError, InvalidTimeError
from features.times import NO_ZONE, parse_times

_INTEGER = re.compile(r"-?\d{1,18}")
_MILLISECONDS = pa.timestamp("ms", "UTC")


def as_floats(column: pa.Array) -> Floats:
    """Return a column of numbers; a missing one is NaN.

    Raises:
        InvalidColumnsError: the column has another type.
    """
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowException as error:
        raise InvalidColumnsError(str(error)) from error


def as_times(column: pa.Array, zone: str | None) -> tuple[Ints, NDArray[np.uint8]]:
    """Return a column of times and the codes of the rejections of those that are none.

    Args:
        column: timestamps, dates, milliseconds, or texts of any of them.
        zone: the time zone of times that have none.

    Raises:
        InvalidTimeError: the times have no zone, and `zone` is None.
        InvalidColumnsError: the column has another type.
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        parsed = _parse_uniform(column)
        if parsed is None:
            texts = column.to_pylist()
            return parse_times([int(t) if t and _INTEGER.fullmatch(t) else t for t in texts])
        column, kind = parsed, parsed.type
    problems = np.zeros(len(column), np.uint8)
    if column.null_count:
        problems[column.is_null().to_numpy(zero_copy_only=False)] = Rejection.NOT_A_TIME.code
        column = column.fill_null(0)
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
        kind = column.type
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            if zone is None:
                raise InvalidTimeError(str(kind), NO_ZONE)
            column = pc.assume_timezone(column, zone)
        return _floor(column, problems)
    if pa.types.is_integer(kind):
        return _as_ints(column), problems
    raise InvalidColumnsError(f"its times have the type {kind}")


def _floor(column: pa.Array, problems: NDArray[np.uint8]) -> tuple[Ints, NDArray[np.uint8]]:
    """Return timestamps in milliseconds; more precise ones lie on no grid."""
    times = column.cast(_MILLISECONDS, safe=False)
    is_exact = pc.equal(times.cast(column.type), column).to_numpy(zero_copy_only=False)
    problems[~is_exact & (problems == 0)] = Rejection.NOT_A_TIME.code
    return _as_ints(times), problems


def _as_ints(column: pa.Array) -> Ints:
    return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _parse_uniform(texts: pa.Array) -> pa.Array | None:
    """Return numbers or timestamps if all texts are such, of one form; otherwise None."""
    first = texts[0].as_py() if len(texts) else None
    kinds = [pa.timestamp("us", "UTC"), pa.timestamp("us")]
    if first is not None and _INTEGER.fullmatch(first):
        kinds = [pa.int64()]
    for kind in kinds:
        with suppress(pa.ArrowInvalid):
            return texts.cast(kind)
    return None
