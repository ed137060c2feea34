"""Converts the features of a request, in any accepted form, to one window for a model. Pure.

A window holds thousands of numbers, so nothing here touches them one by one in Python unless
something is wrong with them.
"""

from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.predictors import Windows
from registry.records import ModelMetadata
from serve_app.errors import InvalidFeaturesError, RoundedFeaturesError

MAX_SHOWN = 40
"""The number of characters of an invalid value that an error repeats."""


LARGEST_EXACT = 2**53
"""The integer up to which float64 holds every integer."""


def as_window(features: object, metadata: ModelMetadata) -> Windows:
    """Return features as one window (timesteps, features) in the type of the model's input.

    Numbers for a float32 model are rounded to float32. Numbers for a float64 model are never
    changed: they are floats of 64 bits, or integers that such floats can hold.

    Args:
        features: timesteps x features numbers, flat in row order or as the nested matrix.
        metadata: metadata of the model's version.

    Raises:
        InvalidFeaturesError: the length or shape is wrong, or a value is not a number, is infinite,
            exceeds the type, or is NaN and the model does not accept missing values.
        RoundedFeaturesError: the model takes float64, and the features are in another type.
    """
    shape = metadata.input_shape
    expected = _expected(shape)
    if isinstance(features, list):
        _check_lengths(features, shape, expected)
    numbers = _numbers(features, expected)
    if numbers.shape != shape and numbers.shape != (shape[0] * shape[1],):
        received = " x ".join(map(str, numbers.shape)) or "1"
        raise InvalidFeaturesError("features", expected, f"{received} numbers")
    window = numbers.reshape(shape)
    if metadata.input_type == "float64":
        window = _in_doubles(window)
    elif window.dtype != np.float32 or not window.flags.c_contiguous:
        with np.errstate(over="ignore"):
            window = np.ascontiguousarray(window, dtype=np.float32)
    if not np.isfinite(window).all() and not _is_missing_only(window, metadata):
        raise InvalidFeaturesError("features", expected, _first_not_finite(window, numbers, shape))
    return window


def _is_missing_only(window: Windows, metadata: ModelMetadata) -> bool:
    """Return whether NaN, as a missing value, is all that is not finite in a window."""
    return metadata.accepts_missing and not np.isinf(window).any()


def _in_doubles(window: NDArray[Any]) -> NDArray[np.float64]:
    """Return a window in float64, if its numbers are exactly those that were sent."""
    converted = np.ascontiguousarray(window, dtype=np.float64)
    is_exact = window.dtype.kind == "f" and window.dtype.itemsize == converted.itemsize
    if window.dtype.kind in "iu":
        is_exact = bool((np.abs(converted) <= LARGEST_EXACT).all())
    if not is_exact:
        raise RoundedFeaturesError(str(window.dtype))
    return converted


def _check_lengths(features: list[Any], shape: tuple[int, ...], expected: str) -> None:
    """Reject a list by its length alone, before its numbers are converted."""
    timesteps, columns = shape
    if features and isinstance(features[0], list):
        lengths = {len(row) if isinstance(row, list) else 1 for row in features}
        if lengths != {columns} and len(lengths) > 1:
            raise InvalidFeaturesError("features", expected, "rows of different lengths")
        if len(features) != timesteps or lengths != {columns}:
            received = f"{len(features)} x {lengths.pop()} numbers"
            raise InvalidFeaturesError("features", expected, received)
    elif len(features) != timesteps * columns:
        raise InvalidFeaturesError("features", expected, f"{len(features)} numbers")


def _numbers(features: object, expected: str) -> NDArray[Any]:
    try:
        numbers = np.asarray(features)
    except ValueError:
        raise InvalidFeaturesError("features", expected, "rows of different lengths") from None
    if numbers.size and numbers.dtype.kind not in "fiu":
        raise InvalidFeaturesError("features", expected, _first_non_number(features))
    if isinstance(features, list) and _holds_boolean(features, numbers):
        raise InvalidFeaturesError("features", expected, _first_non_number(features))
    return numbers


def _holds_boolean(features: list[Any], numbers: NDArray[Any]) -> bool:
    """Return whether NumPy converted a boolean among the numbers to 0 or 1.

    Searches the values only if there are zeros or ones.
    """
    if not ((numbers == 0) | (numbers == 1)).any():
        return False
    values = chain.from_iterable(features) if numbers.ndim > 1 else features
    return bool in set(map(type, values))


@lru_cache(maxsize=64)
def _expected(shape: tuple[int, ...]) -> str:
    timesteps, features = shape
    return (
        f"{timesteps * features} finite numbers "
        f"({timesteps} timesteps x {features} features, in row order)"
    )


def _first_non_number(features: object) -> str:
    if not isinstance(features, list):
        return describe(features)
    for index, item in enumerate(features):
        for column, value in enumerate(item) if isinstance(item, list) else [(None, item)]:
            if isinstance(value, bool) or not isinstance(value, int | float):
                place = index if column is None else f"{index}, {column}"
                return f"{describe(value)} at [{place}]"
    return "numbers too large"


def _first_not_finite(window: Windows, numbers: NDArray[Any], shape: tuple[int, ...]) -> str:
    bad = np.argwhere(~np.isfinite(window))
    timestep, feature = bad[0].tolist()
    value = numbers.reshape(shape)[timestep, feature]
    return (
        f"{value} at timestep {timestep}, feature {feature}"
        f" (not finite: {len(bad)} of {window.size}; {window.dtype} holds up to "
        f"{np.finfo(window.dtype).max:.1e})"
    )


def describe(value: object) -> str:
    """Describe a value in a few words, for the `received` part of an error."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:MAX_SHOWN]!a}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int | float):
        return str(value)[:MAX_SHOWN]
    return f"a {type(value).__name__}"
