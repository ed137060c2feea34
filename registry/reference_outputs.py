"""A version's own windows, and the outputs of the library that trained the model on them.

The artifact `windows.npz` holds one array of windows, (windows, timesteps, features), and may hold
the outputs of the training library for these rows, one array per output under the key
`output:MEANING`, for example `output:direction_probabilities`. Every artifact of the version must
return these outputs, since a converter may write a file that loads, has the right shapes and
returns other values. Nothing in the file is executed. Performs no IO except on open files.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.errors import ReferenceMismatchError, UnreadableArtifactError
from registry.outputs import DIRECTION_OUTPUTS

ARTIFACT = "windows.npz"
"""The name of the artifact."""

PREFIX = "output:"
"""The start of the key of a training library's output; the output's meaning follows."""

ORIGINAL_ARTIFACTS = ("model.onnx", "model.pt")
"""The artifacts that must return the reference outputs up to rounding. Any other file is an
optimisation of them, for which `OPTIMIZED` applies."""

EXPORTED_PREFIX = "model_fp32_"
"""The start of the name of an unchanged export of model.pt, which counts as an original too."""

_SHOWN_ROWS = 8
"""The number of differing rows that an error lists."""

_BOUNDED = ("direction_probabilities", "confidence")
"""The outputs between 0 and 1, whose tolerance is absolute."""

Arrays: TypeAlias = Mapping[str, NDArray[np.floating]]
"""Outputs by meaning, each of shape (windows, width)."""


@dataclass(frozen=True, slots=True)
class RecordedWindows:
    """The content of `windows.npz`."""

    windows: NDArray[np.floating]
    """Windows of shape (windows, timesteps, features), in the type of the model's input."""
    outputs: Arrays
    """The training library's outputs by meaning; empty if the file has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTolerance:
    """The largest accepted differences between an artifact and its reference outputs.

    An element may differ by `rounding` times the scale of its output, plus `relative` times the
    output's spread between windows. The scale is 1 for probabilities and the confidence, and the
    output's largest element for scores and returns.
    """

    rounding: Mapping[str, float]
    """The share of the scale, by the type of the reference outputs."""
    relative: float = 0.0
    """The share of the spread."""
    direction_agreement: float = 0.0
    """The minimum share of windows with the direction of the reference. Where `relative` is 0, two
    directions can differ only if their scores are equal up to rounding."""


ORIGINAL = ReferenceTolerance(
    rounding=MappingProxyType({"float64": 2e-5, "float32": 2e-5, "float16": 2e-3})
)
"""The tolerance of ORIGINAL_ARTIFACTS: the rounding of float32, or of the references themselves."""

OPTIMIZED = ReferenceTolerance(
    rounding=MappingProxyType({"float64": 1e-3, "float32": 1e-3, "float16": 3e-3}),
    relative=0.25,
    direction_agreement=0.995,
)
"""The tolerance of quantised and half-precision files, the optimiser's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The result of a comparison with reference outputs."""

    windows: int
    """The number of windows compared."""
    differing: tuple[int, ...]
    """The rows in which an element differs by more than allowed, ascending."""
    output: str
    """The output with the largest difference, relative to what is allowed."""
    largest: float
    """The largest difference of a single element of that output; NaN if an element is none."""
    row: int
    """The row of the largest difference."""
    allowed: float
    """The largest accepted difference of an element of that output."""
    changed_directions: int
    """The number of windows whose direction is another one."""


def tolerance_of(
    artifact: str, optimization: Mapping[str, object] | None = None
) -> ReferenceTolerance:
    """Return the tolerance that applies to an artifact.

    Args:
        artifact: the artifact's name.
        optimization: the evidence in the version's metadata. A tolerance that was given to the
            optimiser applies to its files.

    >>> tolerance_of("model.onnx") is ORIGINAL
    True
    >>> tolerance_of("model_int8.onnx") is OPTIMIZED
    True
    """
    if artifact in ORIGINAL_ARTIFACTS or artifact.startswith(EXPORTED_PREFIX):
        return ORIGINAL
    given = (optimization or {}).get("tolerance")
    if not isinstance(given, Mapping):
        return OPTIMIZED
    return replace(
        OPTIMIZED,
        rounding={kind: float(given["floor"]) for kind in OPTIMIZED.rounding},
        relative=given["relative"],
        direction_agreement=given["direction_agreement"],
    )


def compare_with_reference(
    expected: Arrays, actual: Arrays, tolerance: ReferenceTolerance
) -> Agreement:
    """Compare a model's outputs with the reference outputs for the same windows, in order.

    Args:
        expected: the reference outputs, at least one window.
        actual: the model's outputs, with the same meanings and shapes.
        tolerance: the accepted differences.

    >>> reference = {"confidence": np.array([[0.5], [0.7]])}
    >>> returned = {"confidence": np.array([[0.5], [0.9]])}
    >>> compare_with_reference(reference, returned, ORIGINAL).differing
    (1,)
    """
    count = len(next(iter(expected.values())))
    is_differing = np.zeros(count, dtype=bool)
    worst = ("", 0.0, 0, 0.0)
    worst_ratio = -1.0
    changed = 0
    for meaning, reference in expected.items():
        wide = reference.astype(np.float64)
        with np.errstate(invalid="ignore"):
            differences = np.abs(actual[meaning].astype(np.float64) - wide).max(axis=1)
        allowed = _allowed(meaning, reference, tolerance)
        # Written so that NaN counts as a difference.
        is_differing |= ~(differences <= allowed)
        ranked = np.where(np.isnan(differences), np.inf, differences)
        row = int(ranked.argmax())
        if ranked[row] / allowed > worst_ratio:
            worst_ratio = float(ranked[row] / allowed)
            worst = (meaning, float(differences[row]), row, allowed)
        if meaning in DIRECTION_OUTPUTS:
            changed = int((actual[meaning].argmax(axis=1) != wide.argmax(axis=1)).sum())
    return Agreement(
        windows=count,
        differing=tuple(np.flatnonzero(is_differing).tolist()),
        output=worst[0],
        largest=worst[1],
        row=worst[2],
        allowed=worst[3],
        changed_directions=changed,
    )


def check_reference(path: str, agreement: Agreement, tolerance: ReferenceTolerance) -> None:
    """Raise ReferenceMismatchError if an artifact's outputs differ from the reference outputs.

    Args:
        path: the artifact, for the error.
        agreement: the result of the comparison.
        tolerance: the one that was compared with.
    """
    share = 1 - agreement.changed_directions / agreement.windows
    if agreement.differing or share < tolerance.direction_agreement:
        raise ReferenceMismatchError(
            path,
            agreement.windows,
            len(agreement.differing),
            agreement.differing[:_SHOWN_ROWS],
            agreement.output,
            agreement.largest,
            agreement.row,
            agreement.allowed,
            agreement.changed_directions,
        )


def recorded_meanings(source: Path | BinaryIO) -> tuple[str, ...]:
    """Return the meanings of the outputs that a file of windows holds, without reading them.

    A file of another format has none: `read_recorded` reports it when its content is needed.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return ()
    return tuple(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))


def read_recorded(
    content: bytes,
    path: str,
    shape: tuple[int, ...],
    widths: Mapping[str, int],
    dtype: np.dtype[Any] = np.dtype(np.float32),  # noqa: B008  immutable
) -> RecordedWindows:
    """Return the content of a version's `windows.npz`.

    Args:
        content: the file's content.
        path: the file, for the error.
        shape: the shape of one window.
        widths: the numbers per window of the model's outputs by meaning. If the file holds
            reference outputs, it must hold one for each of them.
        dtype: the type of the model's input.

    Raises:
        UnreadableArtifactError: the file is damaged, or an array has another shape or type.
    """
    arrays = _load(content, path)
    outputs = {
        key.removeprefix(PREFIX): value for key, value in arrays.items() if key.startswith(PREFIX)
    }
    others = {key: value for key, value in arrays.items() if not key.startswith(PREFIX)}
    sizes = ", ".join(map(str, shape))
    expected = f"one array of numbers, (windows, {sizes}), and outputs named {PREFIX}MEANING"
    if len(others) != 1:
        raise UnreadableArtifactError(path, expected, f"its arrays are {', '.join(arrays)}")
    (windows,) = others.values()
    if shape[0] == 1 and windows.ndim == 2:
        windows = windows[:, np.newaxis]  # flat rows
    if windows.dtype.kind not in "fiu" or windows.shape[1:] != shape or len(windows) == 0:
        problem = f"the windows are {windows.dtype} of shape {windows.shape}"
        raise UnreadableArtifactError(path, expected, problem)
    if outputs and set(outputs) != set(widths):
        expected = f"the outputs of the training library for {', '.join(widths)}"
        raise UnreadableArtifactError(path, expected, f"it holds {', '.join(outputs)}")
    return RecordedWindows(
        windows.astype(dtype),
        {
            meaning: _arranged(path, meaning, value, (len(windows), widths[meaning]))
            for meaning, value in outputs.items()
        },
    )


def dump_recorded(windows: NDArray[np.floating], outputs: Arrays) -> bytes:
    """Return the content of a `windows.npz`: windows and the training library's outputs.

    >>> content = dump_recorded(
    ...     np.zeros((1, 2, 3), np.float32), {"expected_return": np.array([[0.01]])}
    ... )
    >>> recorded_meanings(io.BytesIO(content))
    ('expected_return',)
    """
    buffer = io.BytesIO()
    named = {f"{PREFIX}{meaning}": values for meaning, values in outputs.items()}
    np.savez_compressed(buffer, windows=windows, **named)  # type: ignore[arg-type]
    return buffer.getvalue()


def _allowed(meaning: str, reference: NDArray[np.floating], tolerance: ReferenceTolerance) -> float:
    wide = reference.astype(np.float64)
    scale = 1.0 if meaning in _BOUNDED else float(np.abs(wide).max())
    spread = float(np.sqrt(wide.var(axis=0).mean()))
    rounding = tolerance.rounding[reference.dtype.name]
    allowed = rounding * scale + tolerance.relative * spread
    return max(allowed, float(np.finfo(np.float32).tiny))


def _load(content: bytes, path: str) -> Mapping[str, NDArray[np.generic]]:
    expected = "a .npz file of arrays of numbers"
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # Neither an archive nor an array, a damaged one, or one of Python objects.
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        problem = f"{type(error).__name__}: {error}; save it with numpy.savez"
        raise UnreadableArtifactError(path, expected, problem) from error


def _arranged(
    path: str, meaning: str, value: NDArray[np.generic], shape: tuple[int, int]
) -> NDArray[np.floating]:
    is_column = shape[1] == 1 and value.shape == shape[:1]
    if value.dtype.kind != "f" or (value.shape != shape and not is_column):
        raise UnreadableArtifactError(
            path,
            f"{PREFIX}{meaning} of floats, of shape {shape}",
            f"it is {value.dtype} of shape {value.shape}",
        )
    precision = np.float64 if value.dtype.itemsize > 8 else value.dtype
    arranged: NDArray[np.floating] = value.reshape(shape).astype(precision, copy=False)
    if not np.isfinite(arranged).all():
        raise UnreadableArtifactError(
            path, f"{PREFIX}{meaning} of finite numbers", "it contains NaN or infinity"
        )
    return arranged
