"""ONNX files as functions, run with the server's session options."""

import os
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from optimization.errors import InvalidInputError, InvalidModelError
from registry.errors import UnreadableArtifactError
from registry.predictors import check_self_contained
from registry.predictors.inputs import Shape, Split, split_of, window_of

_NUMBERS = ("tensor(float)", "tensor(double)", "tensor(float16)")

_INPUT_TYPES: Mapping[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
}

EXPECTED = (
    "an ONNX model with inputs of float or of double, batch first, and all weights in the one file"
)

Windows = NDArray[np.floating]
"""The input of a model, (batch, ...), for example (batch, timesteps, features), in its type."""

Outputs = Mapping[str, NDArray[np.floating]]
"""Outputs by name, each with the batch first."""

Model = Callable[[Windows], Outputs]
"""A model as a function of windows."""


class GraphLevel(IntEnum):
    """The extent to which ONNX Runtime rewrites a graph."""

    NONE = 0
    BASIC = 1
    """Folds constants and removes redundant nodes; uses ONNX operators only."""
    EXTENDED = 2
    """Adds fused operators of ONNX Runtime's CPU provider."""
    ALL = 99
    """Adds memory layouts of this machine; the file is then specific to its kind."""


_LEVELS = {
    GraphLevel.NONE: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    GraphLevel.BASIC: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    GraphLevel.EXTENDED: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    GraphLevel.ALL: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class OnnxModel:
    """A model on ONNX Runtime's CPU provider; calling it with windows returns outputs by name.

    Of several inputs, each receives its share of the window, as from the server; see
    `registry.predictors.inputs`.

    Args:
        source: the file or its content.
        num_threads: the number of threads within one operator.
        name: the file in messages, if `source` is its content.
        is_exported: whether the file was exported from a network, all of whose outputs count. By
            default outputs of other types than floats are left out: a classifier's labels beside
            its scores follow from these.

    Raises:
        InvalidModelError: the model is missing, damaged, or takes another input.
        InvalidInputError: the number of threads is invalid.
    """

    def __init__(
        self,
        source: Path | bytes,
        num_threads: int = 1,
        name: Path | str = "the given content",
        *,
        is_exported: bool = False,
    ) -> None:
        self.path = source if isinstance(source, Path) else name
        content = source if isinstance(source, bytes) else read_onnx(source)
        self._session = start_session(content, self.path, session_options(num_threads))
        inputs = self._session.get_inputs()
        self._declared = {value.name: value.shape for value in inputs}
        types = {value.type for value in inputs}
        window = _window(self._declared)
        if len(types) != 1 or not types <= _INPUT_TYPES.keys() or window is None:
            taken = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
            raise InvalidModelError(
                self.path, EXPECTED, f"it takes {taken or 'nothing'}; adapt its inputs"
            )
        self.dtype: np.dtype[Any] = _INPUT_TYPES[types.pop()]
        batch = (shape[0] for shape in self._declared.values() if isinstance(shape[0], int))
        self.input_shape: tuple[int | None, ...] = (next(batch, None), *window)
        self._splits: dict[tuple[int, ...], Split | None] = {}
        self.output_names: list[str] = [
            output.name
            for output in self._session.get_outputs()
            if is_exported or output.type in _NUMBERS
        ]
        if not self.output_names:
            found = ", ".join(f"{o.name} {o.type}" for o in self._session.get_outputs())
            raise InvalidModelError(
                self.path, "a model with an output of floats", f"its outputs are {found}"
            )

    def __call__(self, windows: Windows) -> Outputs:
        """Run the model; InvalidInputError if it fails on windows of that shape."""
        inputs = self.inputs_of(windows)
        try:
            values = self._session.run(self.output_names, inputs)
        # ONNX Runtime raises a class of its own for each kind of failure.
        except Exception as error:
            raise self._invalid(windows, _first_line(error)) from error
        return dict(zip(self.output_names, values, strict=True))

    def inputs_of(self, windows: Windows) -> Mapping[str, Windows]:
        """Return the input of each name; InvalidInputError if the windows do not fit several."""
        if len(self._declared) == 1:
            return dict.fromkeys(self._declared, windows)
        sample = windows.shape[1:]
        if sample not in self._splits:
            self._splits[sample] = split_of(self._declared, sample) if len(sample) == 2 else None
        split = self._splits[sample]
        if split is None:
            raise self._invalid(windows, f"its inputs are {self._declared}")
        return split(windows)

    def _invalid(self, windows: Windows, problem: str) -> InvalidInputError:
        return InvalidInputError(
            f"input of {self.path}",
            f"{self.dtype} of shape {self.input_shape} on which the model runs",
            f"{windows.dtype} of shape {windows.shape}: {problem}",
        )


def session_options(num_threads: int) -> onnxruntime.SessionOptions:
    """Return the server's options with the given number of threads."""
    if not isinstance(num_threads, int) or isinstance(num_threads, bool) or num_threads < 1:
        raise InvalidInputError("num_threads", "a whole number of at least 1", repr(num_threads))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The checksum does not cover weights in a separate file; no file lies below the null device.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    return options


def start_session(
    content: bytes, name: Path | str, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    """Return a session on the CPU provider; InvalidModelError if it does not start."""
    _require_self_contained(content, name)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidModelError(name, EXPECTED, _first_line(error)) from error


def graph_level(level: GraphLevel | int) -> onnxruntime.GraphOptimizationLevel:
    """Return ONNX Runtime's constant for a level; InvalidInputError for an unknown level."""
    try:
        return _LEVELS[GraphLevel(level)]
    except ValueError:
        expected = ", ".join(f"{known.name} ({known.value})" for known in GraphLevel)
        raise InvalidInputError("level", f"one of {expected}", repr(level)) from None


def read_onnx(path: Path) -> bytes:
    """Return the content of a well-formed ONNX file.

    Raises:
        InvalidModelError: the file is missing or damaged, or its weights are in another file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InvalidModelError(
            path, "an ONNX file", "there is no such file; check the path"
        ) from None
    except OSError as error:
        raise InvalidModelError(path, "an ONNX file", str(error)) from error
    load_graph(content, path)
    return content


def load_graph(content: bytes, name: Path | str) -> onnx.ModelProto:
    """Return the parsed model; InvalidModelError if it is damaged or refers to another file."""
    _require_self_contained(content, name)
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    # protobuf and onnx raise their own classes.
    except Exception as error:
        problem = (
            f"the file is damaged or not an ONNX model, so export it again: {_first_line(error)}"
        )
        raise InvalidModelError(name, EXPECTED, problem) from error
    return model


def _window(declared: Mapping[str, Shape]) -> tuple[int | None, ...] | None:
    """Return the shape of a window without the batch; None if the inputs do not share one."""
    if not all(declared.values()):
        return None
    if len(declared) > 1:
        return window_of(declared)
    return next(
        (
            tuple(size if isinstance(size, int) else None for size in shape[1:])
            for shape in declared.values()
        ),
        None,
    )


def _require_self_contained(content: bytes, name: Path | str) -> None:
    try:
        check_self_contained(content, name)
    except UnreadableArtifactError as error:
        raise InvalidModelError(name, EXPECTED, error.problem) from error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
