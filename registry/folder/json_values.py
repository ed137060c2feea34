"""Converts the values that trainers pass as metadata to JSON. Pure.

Values of NumPy, tuples, dates, decimal numbers, members of enumerations and paths have one obvious
form in JSON. All others are rejected with the name of their key, since a guess would be stored
forever.
"""

import enum
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import JsonValue

FIELDS = ("metrics", "training_params", "dataset_info", "optimization", "input_shape")
"""The fields of the metadata whose values are converted."""

_MAX_DEPTH = 50


def with_json_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of the metadata, the values of FIELDS converted to JSON.

    >>> with_json_values({"dataset_info": {"bars": np.int64(5), "shape": (60, 110)}})
    {'dataset_info': {'bars': 5, 'shape': [60, 110]}}

    Raises:
        ValueError: a value has no form in JSON; the message begins with its key.
    """
    return {
        name: _json_of(value, name, 0) if name in FIELDS else value
        for name, value in fields.items()
    }


def _json_of(value: object, key: str, depth: int) -> JsonValue:
    if depth > _MAX_DEPTH:
        raise ValueError(f"{key}: expected at most {_MAX_DEPTH} levels, received more")
    if isinstance(value, Mapping):
        return {
            _name(name, key): _json_of(item, f"{key}.{name}", depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, np.ndarray):
        return _json_of(_plain_list(value, key), key, depth)
    if isinstance(value, list | tuple | range):
        return [_json_of(item, f"{key}.{index}", depth + 1) for index, item in enumerate(value)]
    return _scalar(value, key)


def _scalar(value: object, key: str) -> JsonValue:
    if isinstance(value, enum.Enum):
        return _scalar(value.value, key)
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return _finite(float(value), value, key)
    if isinstance(value, Decimal):
        number = _finite(float(value), value, key)
        if Decimal(repr(number)) != value:
            raise _unclear(key, f"the decimal {value}, which a number of JSON rounds; pass a text")
        return number
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return str(value)
    if isinstance(value, date | datetime | time) and type(value).__name__ != "NaTType":
        return value.isoformat()
    if isinstance(value, str | PurePath | UUID):
        return _text(str(value), key)
    raise _unclear(key, f"a value of type {type(value).__name__}")


def _plain_list(array: np.ndarray[Any, Any], key: str) -> object:
    """Return an array as (nested) lists of scalars, which keep their types for `_scalar`."""
    if array.dtype.kind not in "biufUMO" or isinstance(array, np.ma.MaskedArray):
        raise _unclear(key, f"an array of {type(array).__name__} with {array.dtype}")
    if array.ndim == 0:
        return array[()]
    return [_plain_list(row, key) if isinstance(row, np.ndarray) else row for row in array]


def _finite(number: float, received: object, key: str) -> float:
    if not math.isfinite(number):
        problem = f"{key}: expected a finite number, received {received}"
        raise ValueError(f"{problem}; omit the key or pass a text")
    return number


def _name(name: object, key: str) -> str:
    if not isinstance(name, str):
        raise _unclear(key, f"the key {name!r:.40} of type {type(name).__name__}; keys are texts")
    return _text(str(name), key)


def _text(text: str, key: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _unclear(key, f"the text {ascii(text)[:40]}, which UTF-8 cannot encode") from None
    return text


def _unclear(key: str, received: str) -> ValueError:
    expected = "a number, text, flag, date, path, list or mapping"
    return ValueError(f"{ascii(key)[1:-1]}: expected {expected}, received {received}")
