"""A model's artifact as a function from windows to outputs: ONNX Runtime, or PyTorch without it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from registry.errors import MissingArtifactError, UnreadableArtifactError
from registry.records import OUTPUTS, ModelMetadata
from serve_app.errors import ModelOutputError
from serve_app.inference.prediction import Outputs, Windows

if TYPE_CHECKING:
    import onnxruntime


class Predictor(Protocol):
    """Runs a model on windows (batch, timesteps, features), giving its outputs by meaning."""

    def __call__(self, windows: Windows) -> Outputs:
        """Return direction_logits (batch, 3), confidence and expected_return (batch, 1)."""


class OnnxPredictor:
    """A model on ONNX Runtime's CPU provider."""

    def __init__(self, content: bytes, metadata: ModelMetadata, num_threads: int) -> None:
        self._session = _onnx_session(content, metadata, num_threads)
        inputs = self._session.get_inputs()
        self._input_name = inputs[0].name
        if len(inputs) != 1 or not _takes(inputs[0].shape, metadata.input_shape):
            timesteps, features = metadata.input_shape
            raise UnreadableArtifactError(
                _file(metadata, "model.onnx"),
                f"a model with one input of shape (batch, {timesteps}, {features})",
                f"it takes {', '.join(f'{each.name} {each.shape}' for each in inputs)}",
            )
        self._names = [metadata.output_names[output] for output in OUTPUTS]
        offered = [output.name for output in self._session.get_outputs()]
        missing = [name for name in self._names if name not in offered]
        if missing:
            raise UnreadableArtifactError(
                _file(metadata, "model.onnx"),
                f"a model with the outputs {', '.join(self._names)}",
                f"it has {', '.join(offered)}",
            )

    def __call__(self, windows: Windows) -> Outputs:
        """Run the model; see Predictor."""
        values = self._session.run(self._names, {self._input_name: windows})
        return dict(zip(OUTPUTS, values, strict=True))


class TorchPredictor:
    """A model on PyTorch, for versions without an ONNX file."""

    def __init__(self, content: bytes, metadata: ModelMetadata, num_threads: int) -> None:
        import torch

        from registry.architectures import load_checkpoint

        torch.set_num_threads(num_threads)
        self._torch = torch
        self._network = load_checkpoint(content, metadata.model_type)
        self._names = [metadata.output_names[output] for output in OUTPUTS]

    def __call__(self, windows: Windows) -> Outputs:
        """Run the model; see Predictor."""
        with self._torch.inference_mode():
            # A copy: arrays that came through a handle may be read-only.
            values = self._network(self._torch.tensor(windows))
        return {
            output: getattr(values, name).numpy()
            for output, name in zip(OUTPUTS, self._names, strict=True)
        }


def choose_artifact(metadata: ModelMetadata) -> str:
    """Return the artifact that serves: ONNX when the version has it, else the checkpoint."""
    for artifact in ("model.onnx", "model.pt"):
        if artifact in metadata.artifacts:
            return artifact
    raise MissingArtifactError(_file(metadata, "model.onnx"), "model.onnx or model.pt")


def load_predictor(content: bytes, metadata: ModelMetadata, num_threads: int) -> Predictor:
    """Load the artifact of `choose_artifact(metadata)` from its content and try it out.

    Raises:
        UnreadableArtifactError: the file is not what its name promises.
        ModelOutputError: the model's answer to a batch of zeros is not finite or misshapen.
    """
    kinds: dict[str, Callable[[bytes, ModelMetadata, int], Predictor]] = {
        "model.onnx": OnnxPredictor,
        "model.pt": TorchPredictor,
    }
    predictor = kinds[choose_artifact(metadata)](content, metadata, num_threads)
    warm_up(predictor, metadata)
    return predictor


def warm_up(predictor: Predictor, metadata: ModelMetadata) -> None:
    """Run the model on one window and on two, and refuse outputs that are no prediction."""
    shapes = {"direction_logits": (3,), "confidence": (1,), "expected_return": (1,)}
    for batch in (1, 2):
        outputs = predictor(np.zeros((batch, *metadata.input_shape), dtype=np.float32))
        for output, shape in shapes.items():
            value = outputs[output]
            if value.shape != (batch, *shape) or not np.isfinite(value).all():
                raise ModelOutputError(
                    metadata.name,
                    metadata.version,
                    f"on a warm-up batch of {batch}, expected finite {output} of shape "
                    f"{(batch, *shape)}, received {value.tolist()} of shape {value.shape}",
                )


def _onnx_session(
    content: bytes, metadata: ModelMetadata, num_threads: int
) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    # Spinning threads burn the cores that the other replicas need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UnreadableArtifactError(
            _file(metadata, "model.onnx"), "an ONNX model", str(error)
        ) from error


def _takes(declared: Sequence[int | str | None], sample: tuple[int, ...]) -> bool:
    """Tell whether a model's declared input fits samples; only numbers bind, names are free."""
    return len(declared) == len(sample) + 1 and all(
        not isinstance(size, int) or size == wanted
        for size, wanted in zip(declared[1:], sample, strict=True)
    )


def _file(metadata: ModelMetadata, artifact: str) -> str:
    return f"{metadata.name}/v{metadata.version}/{artifact}"
