"""The windows that a model is judged on: real ones from a file, or noise for want of them."""

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from optimization.errors import InvalidInputError
from optimization.quantization.quantize import check_windows
from optimization.runtime import Windows

ARTIFACT = "windows.npz"
"""A version's own windows, by this name among its artifacts."""

NOISE_WINDOWS = 2048
"""One wrong direction in 200 is then told from chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Windows to calibrate with and, never the same ones, to judge by."""

    source: str
    """Where they come from, in words."""
    is_real: bool
    calibration: Windows
    windows: Windows
    direction: str | None = None
    """The output by which a class is chosen.

    See `optimization.measurement.parity.direction_scores`.
    """


def split_windows(
    windows: Windows, source: str, is_real: bool = True, direction: str | None = None
) -> Evaluation:
    """Calibrate with the first third and judge by the rest: what follows in time, mostly.

    Raises:
        InvalidInputError: fewer than three, or no numbers that can be worked with.
    """
    check_windows("windows", windows)
    if len(windows) < 3:
        raise InvalidInputError("windows", "at least three", str(len(windows)))
    calibrating = len(windows) // 3
    return Evaluation(
        source=source,
        is_real=is_real,
        calibration=np.ascontiguousarray(windows[:calibrating]),
        windows=np.ascontiguousarray(windows[calibrating:]),
        direction=direction,
    )


def fitted(windows: Windows, shape: tuple[int | None, ...]) -> Windows:
    """Return windows in the shape of a sample that a model declares, where it is another view.

    A model of flat rows takes the values of a window one after the other, as the server gives
    them. Windows that do not fit come back as they are.
    """
    sizes = [each for each in shape if each is not None]
    if len(sizes) < len(shape) or windows.shape[1:] == tuple(sizes):
        return windows
    fits = math.prod(sizes) == math.prod(windows.shape[1:])
    return windows.reshape(len(windows), *sizes) if fits else windows


def noise(shape: tuple[int, ...], count: int = NOISE_WINDOWS) -> Windows:
    """Return seeded standard normal windows of that shape, which is without the batch."""
    return np.random.default_rng(20_240_229).standard_normal((count, *shape), dtype=np.float32)


def read_windows(
    source: Path | BinaryIO, shape: tuple[int, ...], name: str | None = None
) -> Windows:
    """Return the windows in a NumPy file, (windows, *shape): .npy, or .npz with one array.

    `name` is what messages call it, by default the path.

    Nothing in the file is executed. Numbers of another precision become float32.

    Raises:
        InvalidInputError: no such file, or something else in it.
    """
    where = name or str(source)
    expected = (
        f"a .npy or .npz file of one array of numbers, (windows, {', '.join(map(str, shape))})"
    )
    try:
        content = source.read_bytes() if isinstance(source, Path) else source.read()
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                names = loaded.files
                if len(names) != 1:
                    raise InvalidInputError(where, expected, f"the arrays {names}")
                array = loaded[names[0]]
        else:
            array = loaded
    except FileNotFoundError:
        raise InvalidInputError(where, expected, "no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(where, expected, f"{type(error).__name__}: {error}") from error
    if array.dtype.kind not in "fiu" or array.shape[1:] != shape or len(array) == 0:
        raise InvalidInputError(where, expected, f"{array.dtype} of shape {array.shape}")
    return check_windows(where, array.astype(np.float32))
