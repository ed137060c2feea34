"""Runs models on ONNX Runtime, independently of the framework that trained them."""

import os
from types import ModuleType
from typing import TYPE_CHECKING

from registry.errors import MissingPackageError, NoGpuError, UnreadableArtifactError
from registry.predictors.class_names import check_classes
from registry.predictors.inputs import split_of
from registry.predictors.onnx_declarations import read_declarations
from registry.predictors.onnx_references import check_self_contained
from registry.predictors.protobuf import EXPECTED
from registry.predictors.values import Outputs, Windows, arrange, output_names_of, path_of
from registry.records import ModelMetadata

if TYPE_CHECKING:
    import onnxruntime

_CUDA = "CUDAExecutionProvider"
_INPUT_TYPES = {"float32": "tensor(float)", "float64": "tensor(double)"}
"""The input's type in ONNX Runtime by the version's `input_type`."""


class OnnxPredictor:
    """A model on the CPU provider or the CUDA provider of ONNX Runtime.

    It has one input, (batch, timesteps, features), or (batch, timesteps * features) for models of
    flat rows, which receive each window in row order, or several; see `split_of`.

    Raises:
        MissingPackageError: onnxruntime is not installed.
        NoGpuError: ONNX Runtime has no CUDA provider, or the provider does not start.
        UnreadableArtifactError: the file is not an ONNX model, or its input or outputs differ from
            the metadata.
    """

    def __init__(
        self,
        content: bytes,
        metadata: ModelMetadata,
        artifact: str,
        num_threads: int,
        on_gpu: bool = False,
    ) -> None:
        self._path = path_of(metadata, artifact)
        names = output_names_of(metadata)
        self._names = list(names.values())
        self._widths = list(metadata.output_widths.items())
        check_classes(read_declarations(content), metadata.label_map, self._path)
        self._session = _start_session(content, self._path, num_threads, on_gpu)
        self._check_outputs()
        inputs = self._session.get_inputs()
        shapes = {tensor.name: tensor.shape for tensor in inputs}
        split = split_of(shapes, metadata.input_shape)
        types = {tensor.type for tensor in inputs}
        if split is None or not types <= set(_INPUT_TYPES.values()):
            timesteps, features = metadata.input_shape
            found = ", ".join(f"{tensor.name} {tensor.type} {tensor.shape}" for tensor in inputs)
            raise UnreadableArtifactError(
                self._path,
                f"a model with inputs of float or double, together of shape (batch, {timesteps}, "
                f"{features}) or (batch, {timesteps * features})",
                f"its inputs are {found}",
            )
        if types != {_INPUT_TYPES[metadata.input_type]}:
            raise UnreadableArtifactError(
                self._path,
                f"a model of {metadata.input_type}, the version's input_type",
                f"its input is {', '.join(types)}, for which windows would be rounded; register "
                f"the file as model.onnx of a new version",
            )
        self._split = split

    def __call__(self, windows: Windows) -> Outputs:
        """Run the model; see Predictor."""
        batch = len(windows)
        values = self._session.run(self._names, self._split(windows))
        return {
            meaning: arrange(self._path, meaning, value, (batch, width))
            for (meaning, width), value in zip(self._widths, values, strict=True)
        }

    def _check_outputs(self) -> None:
        types = {output.name: output.type for output in self._session.get_outputs()}
        if any(name not in types for name in self._names):
            raise UnreadableArtifactError(
                self._path,
                f"a model with the outputs {', '.join(self._names)}",
                f"its outputs are {', '.join(types)}",
            )
        for name in self._names:
            if not types[name].startswith("tensor("):
                raise UnreadableArtifactError(
                    self._path,
                    f"a model whose output {name} is a tensor",
                    f"it is {types[name]}, one map per row; convert the model with zipmap=False "
                    f"(skl2onnx: options={{'zipmap': False}})",
                )


def import_onnxruntime(path: str) -> ModuleType:
    """Return the module, imported for the artifact at `path`.

    Raises:
        MissingPackageError: it is not installed.
    """
    # ONNX Runtime reads this on import; without it, it creates a database below ~/.cache.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingPackageError(path, "onnxruntime", "server") from error
    module: ModuleType = onnxruntime
    return module


def _start_session(
    content: bytes, path: str, num_threads: int, on_gpu: bool
) -> "onnxruntime.InferenceSession":
    onnxruntime = import_onnxruntime(path)
    check_self_contained(content, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    # Spinning threads would occupy the cores that the other replicas need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # ONNX Runtime also reads a format of its own, which check_self_contained does not know.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Without this, external weights would be searched for in the working directory. There are no
    # files below the null device.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    provider = _CUDA if on_gpu else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        problem = f"its providers are {', '.join(onnxruntime.get_available_providers())}"
        raise NoGpuError(path, "ONNX Runtime", f"{problem}; install onnxruntime-gpu")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[provider])
    except Exception as error:
        raise UnreadableArtifactError(path, EXPECTED, str(error)) from error
    if provider not in session.get_providers():
        # ONNX Runtime falls back to the CPU with a log line, but a configured GPU must be used.
        raise NoGpuError(path, "ONNX Runtime", "its CUDA provider did not start, see its log above")
    return session
