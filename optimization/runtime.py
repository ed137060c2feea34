"""ONNX files as functions, run as the server runs them."""

import os
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from optimization.errors import InvalidInputError, InvalidModelError

EXPECTED = "an ONNX model with one float32 input, batch first, and all weights in the one file"

Windows = NDArray[np.float32]
"""(batch, ...): what the model takes, for example (batch, timesteps, features)."""


class GraphLevel(IntEnum):
    """How far ONNX Runtime rewrites a graph."""

    NONE = 0
    BASIC = 1
    """Constant folding and redundant nodes; ONNX operators alone."""
    EXTENDED = 2
    """Fused operators of ONNX Runtime's CPU provider too."""
    ALL = 99
    """Memory layouts of the machine at hand too; a file of it is for this kind of machine only."""


_LEVELS = {
    GraphLevel.NONE: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    GraphLevel.BASIC: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    GraphLevel.EXTENDED: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    GraphLevel.ALL: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class OnnxModel:
    """A model on ONNX Runtime's CPU provider, called with windows, giving outputs by name.

    Args:
        source: the file or its content.
        num_threads: threads inside one operator.
        name: the file, for messages, where only its content is given.

    Raises:
        InvalidModelError: no ONNX model, damaged, or one that takes something else.
        InvalidInputError: no such number of threads.
    """

    def __init__(
        self, source: Path | bytes, num_threads: int = 1, name: Path | str = "the given bytes"
    ) -> None:
        self.path = source if isinstance(source, Path) else name
        content = source if isinstance(source, bytes) else read_onnx(source)
        self._session = start_session(content, self.path, session_options(num_threads))
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not inputs[0].shape:
            taken = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise InvalidModelError(self.path, EXPECTED, f"it takes {taken or 'nothing'}")
        self.input_name: str = inputs[0].name
        self.input_shape: tuple[int | None, ...] = tuple(
            each if isinstance(each, int) else None for each in inputs[0].shape
        )
        self.output_names: list[str] = [output.name for output in self._session.get_outputs()]

    def __call__(self, windows: Windows) -> Mapping[str, NDArray[np.float32]]:
        """Run the model; InvalidInputError if it does not run on windows of that shape."""
        try:
            values = self._session.run(self.output_names, {self.input_name: windows})
        # ONNX Runtime raises classes of its own for each kind of refusal.
        except Exception as error:
            raise InvalidInputError(
                f"input of {self.path}",
                f"float32 of shape {self.input_shape} that the model runs on",
                f"{windows.dtype} of shape {windows.shape}: {_first_line(error)}",
            ) from error
        return dict(zip(self.output_names, values, strict=True))


def session_options(num_threads: int) -> onnxruntime.SessionOptions:
    """Return the options that the server uses, with that many threads."""
    if not isinstance(num_threads, int) or isinstance(num_threads, bool) or num_threads < 1:
        raise InvalidInputError("num_threads", "a whole number of at least 1", repr(num_threads))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Nothing vouches for weights in a file beside the model; no file lies below the null device.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    return options


def start_session(
    content: bytes, name: Path | str, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    """Return a session on the CPU provider; InvalidModelError if it does not start."""
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidModelError(name, EXPECTED, _first_line(error)) from error


def graph_level(level: GraphLevel | int) -> onnxruntime.GraphOptimizationLevel:
    """Return ONNX Runtime's name for a level."""
    try:
        return _LEVELS[GraphLevel(level)]
    except ValueError:
        expected = ", ".join(f"{each.name} ({each.value})" for each in GraphLevel)
        raise InvalidInputError("level", f"one of {expected}", repr(level)) from None


def read_onnx(path: Path) -> bytes:
    """Return the content of an ONNX file that onnx finds well-formed.

    Raises:
        InvalidModelError: the file is missing, damaged, or its weights lie in another file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InvalidModelError(path, "an ONNX file", "there is no such file") from None
    except OSError as error:
        raise InvalidModelError(path, "an ONNX file", str(error)) from error
    load_graph(content, path)
    return content


def load_graph(content: bytes, name: Path | str) -> onnx.ModelProto:
    """Return the parsed model; InvalidModelError if it is damaged."""
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    # protobuf and onnx raise classes of their own.
    except Exception as error:
        problem = f"the file is damaged or no ONNX model: {_first_line(error)}"
        raise InvalidModelError(name, EXPECTED, problem) from error
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in model.graph.initializer):
        raise InvalidModelError(name, EXPECTED, "its weights lie in a file beside it")
    return model


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
