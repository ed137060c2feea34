"""The share of a window that each input of a model receives. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from registry.predictors.values import Windows

Shape: TypeAlias = Sequence[int | str | None]
"""A declared shape, the batch first. Only integers are fixed sizes: a name accepts any size."""

Split: TypeAlias = Callable[[Windows], dict[str, Windows]]
"""Returns the input of each name, given windows (batch, timesteps, features)."""


def split_of(declared: Mapping[str, Shape], window: tuple[int, ...]) -> Split | None:
    """Return how windows are split among the inputs of a model; None if they do not fit.

    The only input receives the window as a matrix, or as a flat row in row order. Of several
    inputs, in the order of the file, each receives the next columns if all of them are (batch,
    timesteps, columns); otherwise each receives the next numbers of the flat row, in its own shape.

    Args:
        declared: the declared shape by the name of the input.
        window: the shape of a window, (timesteps, features).
    """
    if len(declared) == 1:
        ((name, shape),) = declared.items()
        for sample in (window, (math.prod(window),)):
            if _accepts(shape, sample):
                return lambda windows: {name: windows.reshape(len(windows), *sample)}
        return None
    sizes = {name: tuple(shape[1:]) for name, shape in declared.items()}
    own = {
        name: tuple(size for size in shape if isinstance(size, int))
        for name, shape in sizes.items()
    }
    timesteps, features = window
    columns = [
        shape[-1:] for shape in sizes.values() if _accepts((None, *shape), (timesteps, *shape[-1:]))
    ]
    if len(columns) == len(sizes) and sum(_ints(columns)) == features:
        return _by_columns(dict(zip(sizes, _ints(columns), strict=True)))
    is_fixed = all(own[name] == shape and shape for name, shape in sizes.items())
    if is_fixed and sum(map(math.prod, own.values())) == math.prod(window):
        return _by_rows(own)
    return None


def window_of(declared: Mapping[str, Shape]) -> tuple[int | None, int] | None:
    """Return the shape of a window that several inputs share, (timesteps, features).

    The timesteps are None where the inputs accept any number. Inputs that take parts of a flat row
    have one timestep. The result is None if the inputs state no shape.

    >>> window_of({"prices": ["batch", 60, 5], "volumes": ["batch", 60, 2]})
    (60, 7)
    >>> window_of({"window": ["batch", 60, 5], "position": ["batch", 3]})
    (1, 303)
    """
    sizes = [tuple(shape[1:]) for shape in declared.values()]
    if all(len(size) == 2 and isinstance(size[1], int) for size in sizes):
        timesteps = {size[0] for size in sizes if isinstance(size[0], int)}
        if len(timesteps) <= 1:
            return next(iter(timesteps), None), sum(_ints([size[1:] for size in sizes]))
    own = [[number for number in size if isinstance(number, int)] for size in sizes]
    is_fixed = all(size and len(size) == len(fixed) for size, fixed in zip(sizes, own, strict=True))
    return (1, sum(map(math.prod, own))) if is_fixed else None


def _by_columns(widths: Mapping[str, int]) -> Split:
    ends = np.cumsum(list(widths.values())).tolist()
    slices = {name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True)}
    return lambda windows: {
        name: np.ascontiguousarray(windows[:, :, columns]) for name, columns in slices.items()
    }


def _by_rows(shapes: Mapping[str, tuple[int, ...]]) -> Split:
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()]).tolist()
    starts = [0, *ends[:-1]]

    def split(windows: Windows) -> dict[str, Windows]:
        rows = windows.reshape(len(windows), -1)
        return {
            name: np.ascontiguousarray(rows[:, start:end]).reshape(len(rows), *shape)
            for (name, shape), start, end in zip(shapes.items(), starts, ends, strict=True)
        }

    return split


def _accepts(shape: Shape, sample: Sequence[int | str | None]) -> bool:
    """Return whether a declared shape, with the batch, accepts a sample."""
    return len(shape) == len(sample) + 1 and all(
        not isinstance(size, int) or size == wanted
        for size, wanted in zip(shape[1:], sample, strict=True)
    )


def _ints(columns: Sequence[Sequence[int | str | None]]) -> list[int]:
    """Return the widths, 0 for one that is not fixed."""
    return [width if isinstance(width, int) else 0 for (width,) in columns]
