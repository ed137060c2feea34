"""From a version's artifact to a predictor that has run."""

from collections.abc import Callable

import numpy as np

from registry.errors import MissingArtifactError, UnusableModelError
from registry.predictors.onnx_predictor import OnnxPredictor
from registry.predictors.torch_predictor import TorchPredictor
from registry.predictors.values import Predictor, Windows, find_problem, path_of, rows_of
from registry.records import ModelMetadata

SERVING_ARTIFACTS = ("model.onnx", "model.pt")
"""What a version is served from unless its metadata names another, the first that it has."""

RUNNABLE_ARTIFACTS = (*SERVING_ARTIFACTS, "model_quantized.onnx")


def is_runnable(artifact: str) -> bool:
    """Tell whether a version can be served from an artifact of that name."""
    return artifact == "model.pt" or artifact.endswith(".onnx")


def choose_artifact(metadata: ModelMetadata) -> str:
    """Return the artifact that serves: the one named, else ONNX where there is one, else PyTorch.

    Raises:
        MissingArtifactError: the version has no such artifact, or none that can serve.
    """
    named = metadata.serving_artifact
    if named is not None:
        if named not in metadata.artifacts or not is_runnable(named):
            known = ", ".join(metadata.artifacts)
            expected = f"the artifact that serves, one of {known}; pin another"
            raise MissingArtifactError(path_of(metadata, named), expected)
        return named
    for artifact in SERVING_ARTIFACTS:
        if artifact in metadata.artifacts:
            return artifact
    raise MissingArtifactError(path_of(metadata, "model.onnx"), "model.onnx or model.pt")


def load_predictor(
    content: bytes, metadata: ModelMetadata, num_threads: int, on_gpu: bool = False
) -> Predictor:
    """Load the artifact of `choose_artifact(metadata)` from its content and try it out.

    On a GPU it runs on the first one that this process may see. PyTorch counts threads by process:
    versions that it serves in one process share the number of the last.

    Raises:
        MissingPackageError: the library that runs the artifact is not installed.
        NoGpuError: the library finds no GPU that it can use.
        ArchitectureError: no usable class by the version's model type.
        UnreadableArtifactError: the file is not what its name promises.
        UnusableModelError: the model does not run, or its answer is no prediction.
    """
    artifact = choose_artifact(metadata)
    predictor = _load(artifact, content, metadata, num_threads, on_gpu)
    if isinstance(predictor, TorchPredictor):
        predictor.set_num_threads(num_threads)
    _warm_up(predictor, metadata, artifact)
    return predictor


def try_out(metadata: ModelMetadata, read: Callable[[str], bytes]) -> None:
    """Load and run every artifact that a version could be served from.

    Args:
        metadata: the version.
        read: returns an artifact's content, given a key of `metadata.artifacts`.

    Raises:
        MissingArtifactError: the version has none to serve.
        RegistryError: see `load_predictor`, and whatever `read` raises.
    """
    for artifact in dict.fromkeys([*RUNNABLE_ARTIFACTS, choose_artifact(metadata)]):
        if artifact in metadata.artifacts:
            predictor = _load(artifact, read(artifact), metadata, num_threads=1, on_gpu=False)
            _warm_up(predictor, metadata, artifact)


def _load(
    artifact: str, content: bytes, metadata: ModelMetadata, num_threads: int, on_gpu: bool
) -> Predictor:
    if artifact == "model.pt":
        return TorchPredictor(content, metadata, artifact, on_gpu)
    return OnnxPredictor(content, metadata, artifact, num_threads, on_gpu)


def _warm_up(predictor: Predictor, metadata: ModelMetadata, artifact: str) -> None:
    """Run the model on one window and on two, and refuse what is no prediction."""
    for batch in (1, 2):
        try:
            outputs = predictor(_noise((batch, *metadata.input_shape)))
        except UnusableModelError:
            raise
        # The library that runs the model, or the user's own network, may raise anything.
        except Exception as error:
            problem = f"it does not run on a batch of {batch}: {type(error).__name__}: {error}"
            raise UnusableModelError(path_of(metadata, artifact), problem) from error
        for problem in filter(None, map(find_problem, rows_of(outputs))):
            raise UnusableModelError(
                path_of(metadata, artifact), f"on a warm-up batch of {batch}, {problem}"
            )


def _noise(shape: tuple[int, ...]) -> Windows:
    """Return windows that look like features; a model may rightly fail on a flat one."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
