"""Checks of arguments: each returns a valid value or raises InvalidInputError."""

from collections.abc import Collection
from typing import Any

import numpy as np

from optimization.errors import InvalidInputError
from optimization.runtime import OnnxModel, Windows


def check_count(what: str, value: object, least: int) -> int:
    """Return `value` if it is a whole number of at least `least`.

    >>> check_count("runs", 3, least=1)
    3
    >>> check_count("runs", 0, least=1)
    Traceback (most recent call last):
        ...
    optimization.errors.InvalidInputError: runs: expected a whole number of at least 1, received 0
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(what, f"a whole number of at least {least}", repr(value))
    return value


def check_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one sample, which excludes the batch, as plain integers.

    >>> check_shape((60, 110))
    (60, 110)
    """
    sizes = tuple(shape)
    if not sizes or any(
        not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1
        for size in sizes
    ):
        expected = "the sizes of one sample, such as (60, 110), each a whole number of at least 1"
        raise InvalidInputError("input_shape", expected, repr(shape))
    return tuple(int(size) for size in sizes)


def sample_shape(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one sample, given a shape that begins with the batch.

    >>> sample_shape((1, 60, 110))
    (60, 110)
    """
    expected = "the batch and the sizes of one sample, such as (1, 60, 110), all at least 1"
    if not isinstance(input_shape, tuple | list) or len(input_shape) < 2:
        raise InvalidInputError("input_shape", expected, repr(input_shape))
    try:
        return check_shape(tuple(input_shape))[1:]
    except InvalidInputError:
        raise InvalidInputError("input_shape", expected, repr(input_shape)) from None


def declared_shape(model: OnnxModel) -> tuple[int, ...]:
    """Return the shape of one sample as a file declares it; the file must fix every size."""
    shape = model.input_shape[1:]
    if not shape or None in shape:
        expected = f"an explicit shape or windows for {model.path}, which declares open sizes"
        raise InvalidInputError("input", expected, str(model.input_shape))
    return tuple(size for size in shape if size is not None)


def check_windows(
    what: str,
    windows: object,
    dtype: np.dtype[Any] | None = None,
    *,
    accepts_missing: bool = False,
) -> Windows:
    """Return windows if they are a non-empty array of finite numbers.

    Args:
        what: the argument, for the error.
        windows: the array.
        dtype: the type of the model's input; by default float32 or float64.
        accepts_missing: whether NaN is a missing value.
    """
    types = ("float32", "float64") if dtype is None else (dtype.name,)
    expected = f"an array of {' or '.join(types)} numbers, (windows, ...), at least one window"
    if not isinstance(windows, np.ndarray):
        raise InvalidInputError(what, expected, type(windows).__name__)
    if windows.dtype.name not in types or windows.ndim < 2 or len(windows) == 0:
        raise InvalidInputError(what, expected, f"{windows.dtype} of shape {windows.shape}")
    invalid = np.isinf(windows) if accepts_missing else ~np.isfinite(windows)
    if count := int(invalid.sum()):
        remedy = "finite numbers, or NaN if the version's dataset_info declares missing_values"
        raise InvalidInputError(what, remedy, f"{count} that are NaN or infinite")
    return windows


def check_operators(operators: Collection[str], offered: Collection[str]) -> list[str]:
    """Return the operators if each of them can be quantised and there is at least one."""
    chosen = [operators] if isinstance(operators, str) else list(operators)
    if not chosen or any(operator not in offered for operator in chosen):
        raise InvalidInputError("operators", f"some of {', '.join(offered)}", repr(operators))
    return chosen
