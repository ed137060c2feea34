"""Converts the containers in which bots keep features to arrays, without losing what they state.

NumPy's own conversion returns the values under a mask as if they were valid, and reads bytes as
small integers. Pure: no IO.
"""

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.errors import InvalidFeaturesError

_EXPECTED = "an array or (nested) list of finite numbers"


def to_array(features: object) -> NDArray[Any]:
    """Return features as an array; one of objects that are all numbers becomes float64.

    The caller checks the type and the values of the array.

    >>> to_array([[1, 2], [3, 4]]).shape
    (2, 2)

    Raises:
        InvalidFeaturesError: an element is masked, or the features are bytes without a type.
        TypeError, ValueError, RuntimeError: NumPy cannot convert the features.
    """
    _check_mask(features)
    if isinstance(features, bytes | bytearray) or (
        isinstance(features, memoryview) and features.format == "B"
    ):
        received = "bytes, whose type of number is unknown; use np.frombuffer"
        raise InvalidFeaturesError("features", _EXPECTED, received)
    given = np.asarray(features)
    return _float64_of(given) if given.dtype == object else given


def _check_mask(features: object, *position: int) -> None:
    if isinstance(features, np.ma.MaskedArray):
        masked = np.argwhere(np.ma.getmaskarray(features))
        if len(masked):
            found = [*position, *masked[0].tolist()]
            received = f"a masked element at {found} ({len(masked)} in all); use filled(VALUE)"
            raise InvalidFeaturesError("features", _EXPECTED, received)
    elif isinstance(features, list | tuple) and any(
        # The types first, since a window has thousands of elements and few types.
        issubclass(kind, list | tuple | np.ma.MaskedArray)
        for kind in set(map(type, features))
    ):
        for index, row in enumerate(features):
            _check_mask(row, *position, index)


def _float64_of(given: NDArray[Any]) -> NDArray[Any]:
    """Return objects as float64 if all are numbers that it holds exactly, else unchanged.

    Columns of several types, such as pandas' nullable ones, arrive as objects.
    """
    try:
        converted = np.array([_exact_float(value) for value in given.ravel()], np.float64)
    except (OverflowError, TypeError):
        return given
    return converted.reshape(given.shape)


def _exact_float(value: object) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
        raise TypeError
    number = float(value)
    if number != value and value == value:
        raise OverflowError
    return number
