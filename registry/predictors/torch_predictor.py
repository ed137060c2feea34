"""Runs models on PyTorch, for versions without an ONNX file."""

from types import ModuleType

from registry.errors import (
    MissingPackageError,
    NoGpuError,
    UnreadableArtifactError,
    UnusableModelError,
)
from registry.predictors.values import Outputs, Windows, arrange, output_names_of, path_of
from registry.records import ModelMetadata


class TorchPredictor:
    """A network of `registry.architectures`, built-in or custom.

    The network's input is (batch, timesteps, features). It returns an object, such as a NamedTuple,
    with a tensor under every name in `output_names`.

    With `on_gpu` it runs on the first CUDA device that is visible to this process.

    Raises:
        MissingPackageError: torch is not installed.
        NoGpuError: PyTorch finds no CUDA device.
        ArchitectureError: the version's model type has no usable network class.
        UnreadableArtifactError: the file is not a checkpoint of that model type.
    """

    def __init__(
        self, content: bytes, metadata: ModelMetadata, artifact: str, on_gpu: bool = False
    ) -> None:
        self._path = path_of(metadata, artifact)
        torch = self._torch = import_torch(metadata, artifact)

        from registry.architectures import load_checkpoint

        self._names = output_names_of(metadata)
        self._widths = metadata.output_widths
        if metadata.input_type != "float32":
            raise UnreadableArtifactError(
                self._path,
                f"a model of {metadata.input_type}, the version's input_type",
                "a checkpoint takes float32; register it as a version without the ONNX file",
            )
        try:
            self._network = load_checkpoint(content, metadata.model_type, metadata.training_params)
        except UnreadableArtifactError as error:
            raise UnreadableArtifactError(self._path, error.expected, error.problem) from error
        if on_gpu and not torch.cuda.is_available():
            raise NoGpuError(self._path, "PyTorch", "torch.cuda.is_available() is false")
        self._device = torch.device("cuda" if on_gpu else "cpu")
        self._network.to(self._device)

    def set_num_threads(self, num_threads: int) -> None:
        """Set the number of threads that PyTorch uses in this process."""
        self._torch.set_num_threads(num_threads)

    def __call__(self, windows: Windows) -> Outputs:
        """Run the model; see Predictor."""
        with self._torch.inference_mode():
            # The tensor copies: arrays that arrive through a handle may be read-only.
            values = self._network(self._torch.tensor(windows, device=self._device))
        missing = [name for name in self._names.values() if not hasattr(values, name)]
        if missing:
            raise UnusableModelError(
                self._path,
                f"expected an object with {', '.join(self._names.values())} from the network, "
                f"received {type(values).__name__} without {', '.join(missing)}",
            )
        return {
            meaning: arrange(
                self._path,
                meaning,
                getattr(values, name).cpu().numpy(),
                (len(windows), self._widths[meaning]),
            )
            for meaning, name in self._names.items()
        }


def import_torch(metadata: ModelMetadata, artifact: str) -> ModuleType:
    """Return the module, imported together with the network class of a version's checkpoint.

    Raises:
        MissingPackageError: torch is not installed.
        ArchitectureError: the version's model type has no usable network class.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingPackageError(path_of(metadata, artifact), "torch", "torch") from error

    from registry.architectures import find_architecture

    find_architecture(metadata.model_type)
    return torch
