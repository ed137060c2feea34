"""The windows on which models are evaluated: real ones from a file, otherwise noise."""

import io
import logging
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from optimization.arguments import check_windows, declared_shape
from optimization.errors import InvalidInputError
from optimization.measurement.parity import run_all
from optimization.runtime import OnnxModel, Windows
from registry.reference_outputs import PREFIX

logger = logging.getLogger(__name__)

NOISE_WINDOWS = 2048
"""Enough to distinguish one wrong direction in 200 from chance."""

LEAST_WINDOWS = 200
"""One wrong direction is then just within the usual tolerance."""

_EVALUATION_S = 10.0
"""The time for noise to run through a model once.

An evaluation takes at most three times as long.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Windows for calibration and, disjoint from them, windows for the evaluation."""

    source: str
    """Describes where the windows come from."""
    is_real: bool
    calibration: Windows
    windows: Windows
    direction: str | None = None
    """Names the output that chooses the class.

    See `optimization.measurement.parity.direction_scores`.
    """


def split_windows(
    windows: Windows,
    source: str,
    is_real: bool = True,
    direction: str | None = None,
    *,
    accepts_missing: bool = False,
) -> Evaluation:
    """Use the first third for calibration and the rest, usually the later ones, for evaluation.

    With `accepts_missing`, NaN is a missing value.

    Raises:
        InvalidInputError: there are fewer than three windows, or they are not finite numbers.
    """
    check_windows("windows", windows, accepts_missing=accepts_missing)
    if len(windows) < 3:
        raise InvalidInputError("windows", "at least three", str(len(windows)))
    calibration_count = len(windows) // 3
    return Evaluation(
        source=source,
        is_real=is_real,
        calibration=np.ascontiguousarray(windows[:calibration_count]),
        windows=np.ascontiguousarray(windows[calibration_count:]),
        direction=direction,
    )


def fitted(windows: Windows, shape: tuple[int | None, ...]) -> Windows:
    """Reshape windows to the sample shape that a model declares, if the number of values agrees.

    A model of flat rows receives the values of a window in row order, as from the server. Windows
    that do not fit are returned unchanged.
    """
    sizes = [size for size in shape if size is not None]
    if len(sizes) < len(shape) or windows.shape[1:] == tuple(sizes):
        return windows
    fits = math.prod(sizes) == math.prod(windows.shape[1:])
    return windows.reshape(len(windows), *sizes) if fits else windows


def noise(shape: tuple[int, ...], count: int = NOISE_WINDOWS) -> NDArray[np.float32]:
    """Return seeded standard normal windows; `shape` excludes the batch."""
    return np.random.default_rng(20_240_229).standard_normal((count, *shape), dtype=np.float32)


def evaluation_windows(model: OnnxModel, windows: Windows | None) -> Windows:
    """Return valid windows in the model's shape; without any, noise of its declared shape."""
    if windows is None:
        generated = noise(declared_shape(model), NOISE_WINDOWS).astype(model.dtype)
        count = affordable(model, generated, _EVALUATION_S, LEAST_WINDOWS)
        logger.info("%s: evaluated on %d windows of noise", model.path, count)
        return generated[:count]
    return fitted(check_windows("windows", windows, model.dtype), model.input_shape[1:])


def affordable(
    model: OnnxModel,
    windows: Windows,
    budget_s: float,
    least: int,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Return how many of the windows the model processes one by one in `budget_s`.

    The result is at least `least` and at most the number of windows.
    """
    batch = model.input_shape[0] or 1
    run_all(model, windows[:batch], batch)
    start = clock()
    sampled = max(1, min(8, len(windows)) // batch) * batch
    run_all(model, windows[:sampled], batch)
    duration_s = max((clock() - start) / sampled, 1e-9)
    return min(len(windows), max(least, int(budget_s / duration_s)))


def read_windows(
    source: Path | BinaryIO,
    shape: tuple[int, ...],
    name: str | None = None,
    *,
    dtype: str = "float32",
    accepts_missing: bool = False,
) -> Windows:
    """Return the windows in a NumPy file, (windows, *shape): .npy, or .npz with one array.

    Outputs beside the windows are skipped (see `registry.reference_outputs`). Nothing in the file
    is executed. Numbers of another precision are converted.

    Args:
        source: the file.
        shape: the shape of one window.
        name: the name of the file in messages, by default its path.
        dtype: the type of the model's input, float32 or float64.
        accepts_missing: whether NaN is a missing value.

    Raises:
        InvalidInputError: the file does not exist or has other content.
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
                names = [name for name in loaded.files if not name.startswith(PREFIX)]
                if len(names) != 1:
                    raise InvalidInputError(where, expected, f"the arrays {names}")
                array = loaded[names[0]]
        else:
            array = loaded
    except FileNotFoundError:
        raise InvalidInputError(where, expected, "no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(where, expected, f"{type(error).__name__}: {error}") from error
    if shape[0] == 1 and array.ndim == 2:
        array = array[:, np.newaxis]  # flat rows
    if array.dtype.kind not in "fiu" or array.shape[1:] != shape or len(array) == 0:
        raise InvalidInputError(where, expected, f"{array.dtype} of shape {array.shape}")
    return check_windows(where, array.astype(dtype), accepts_missing=accepts_missing)
