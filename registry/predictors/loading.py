"""Loads a version's artifact as a predictor and verifies that it runs."""

from collections.abc import Callable

import numpy as np

from registry.errors import MissingArtifactError, UnusableModelError
from registry.predictors.onnx_predictor import OnnxPredictor, import_onnxruntime
from registry.predictors.torch_predictor import TorchPredictor, import_torch
from registry.predictors.values import (
    Outputs,
    Predictor,
    Windows,
    find_problem,
    path_of,
    rows_of,
)
from registry.records import ModelMetadata
from registry.reference_outputs import (
    ARTIFACT,
    RecordedWindows,
    check_reference,
    compare_with_reference,
    read_recorded,
    tolerance_of,
)

SERVING_ARTIFACTS = ("model.onnx", "model.pt")
"""The artifacts that serve by default; the first one that the version has is selected."""

RUNNABLE_ARTIFACTS = (*SERVING_ARTIFACTS, "model_quantized.onnx")
"""The artifacts that a trial run covers in addition to the selected one."""


REFERENCE_BATCH = 32
"""The number of windows per run when an artifact is compared with the reference outputs."""


def is_runnable(artifact: str) -> bool:
    """Return whether an artifact of that name can serve a version."""
    return artifact == "model.pt" or artifact.endswith(".onnx")


def choose_artifact(metadata: ModelMetadata) -> str:
    """Return the artifact that serves: the selected one, else the first of SERVING_ARTIFACTS.

    Raises:
        MissingArtifactError: the version lacks the selected artifact, or has none that can serve.
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
    """Load the artifact of `choose_artifact(metadata)` from its content and warm it up.

    With `on_gpu` it runs on the first GPU that is visible to this process. PyTorch has one thread
    count per process: versions that share a process use the count of the version loaded last.

    Raises:
        MissingPackageError: the library that runs the artifact is not installed.
        NoGpuError: the library finds no usable GPU.
        ArchitectureError: the version's model type has no usable network class.
        UnreadableArtifactError: the file does not have the format of its name.
        UnusableModelError: the model does not run, or its outputs are not a prediction.
    """
    artifact = choose_artifact(metadata)
    predictor = _load(artifact, content, metadata, num_threads, on_gpu)
    if isinstance(predictor, TorchPredictor):
        predictor.set_num_threads(num_threads)
    _warm_up(predictor, metadata, artifact)
    return predictor


def artifacts_to_try(metadata: ModelMetadata) -> list[str]:
    """Return every artifact that could serve a version.

    With reference outputs these are all that `pin_artifact` accepts.

    Raises:
        MissingArtifactError: the version has none.
    """
    candidates = dict.fromkeys([*RUNNABLE_ARTIFACTS, choose_artifact(metadata)])
    if metadata.reference_outputs:
        candidates |= dict.fromkeys(filter(is_runnable, metadata.artifacts))
    return [artifact for artifact in candidates if artifact in metadata.artifacts]


def import_library(artifact: str, metadata: ModelMetadata) -> None:
    """Import the library and the network class that run an artifact.

    Raises:
        MissingPackageError, ArchitectureError: as `load_predictor` raises them.
    """
    if artifact == "model.pt":
        import_torch(metadata, artifact)
    else:
        import_onnxruntime(path_of(metadata, artifact))


def try_artifact(
    artifact: str,
    content: bytes,
    metadata: ModelMetadata,
    before_step: Callable[[], object] = lambda: None,
    recorded: bytes | None = None,
) -> None:
    """Load an artifact in this process, run it, and compare it with the reference outputs.

    It runs on batches of one and two of the version's own windows, or of noise without any.

    Args:
        artifact: a key of `metadata.artifacts` that can serve the version.
        content: the artifact's content.
        metadata: the version's metadata.
        before_step: called before the artifact is loaded and before each run.
        recorded: the content of the version's `windows.npz`.

    Raises:
        ReferenceMismatchError: its outputs differ from the reference outputs in `recorded`.
        RegistryError: the artifact cannot serve; see `load_predictor`.
    """
    before_step()
    own = None
    if recorded is not None:
        where, dtype = path_of(metadata, ARTIFACT), np.dtype(metadata.input_type)
        own = read_recorded(recorded, where, metadata.input_shape, metadata.output_widths, dtype)
    predictor = _load(artifact, content, metadata, num_threads=1, on_gpu=False)
    _warm_up(predictor, metadata, artifact, before_step, None if own is None else own.windows)
    if own is not None and own.outputs:
        _compare(predictor, metadata, artifact, own, before_step)


def _load(
    artifact: str, content: bytes, metadata: ModelMetadata, num_threads: int, on_gpu: bool
) -> Predictor:
    if artifact == "model.pt":
        return TorchPredictor(content, metadata, artifact, on_gpu)
    return OnnxPredictor(content, metadata, artifact, num_threads, on_gpu)


def _warm_up(
    predictor: Predictor,
    metadata: ModelMetadata,
    artifact: str,
    before_step: Callable[[], object] = lambda: None,
    own: Windows | None = None,
) -> None:
    """Run the model on batches of one and two windows; reject outputs that are no prediction.

    The values are not checked on noise if the version has windows of its own, since its trial run
    checked them on these: a model of prices has no outputs for negative ones.
    """
    is_evaluated = own is not None or ARTIFACT not in metadata.artifacts
    for batch in (1, 2):
        before_step()
        sample = (batch, *metadata.input_shape)
        windows = np.resize(own[:batch], sample) if own is not None else _noise(sample, metadata)
        outputs = _run(predictor, windows, metadata, artifact)
        for problem in filter(None, map(find_problem, rows_of(outputs))) if is_evaluated else ():
            source = (
                "standard normal noise; if the model needs other values, register windows.npz "
                "with windows of its own kind"
                if own is None
                else f"the version's own windows in {ARTIFACT}"
            )
            raise UnusableModelError(
                path_of(metadata, artifact),
                f"on a warm-up batch of {batch}, {problem}; the trial run used {source}",
            )


def _compare(
    predictor: Predictor,
    metadata: ModelMetadata,
    artifact: str,
    own: RecordedWindows,
    before_step: Callable[[], object],
) -> None:
    """Run the model on all of its own windows and compare the outputs with the recorded ones."""
    parts = []
    for start in range(0, len(own.windows), REFERENCE_BATCH):
        before_step()
        batch = own.windows[start : start + REFERENCE_BATCH]
        parts.append(_run(predictor, batch, metadata, artifact))
    outputs = {
        meaning: np.concatenate([part[meaning] for part in parts]) for meaning in own.outputs
    }
    tolerance = tolerance_of(artifact, metadata.optimization)
    agreement = compare_with_reference(own.outputs, outputs, tolerance)
    check_reference(path_of(metadata, artifact), agreement, tolerance)


def _run(predictor: Predictor, windows: Windows, metadata: ModelMetadata, artifact: str) -> Outputs:
    try:
        return predictor(windows)
    except UnusableModelError:
        raise
    # The library that runs the model, or a custom network, may raise any error.
    except Exception as error:
        problem = f"it does not run on a batch of {len(windows)}: {type(error).__name__}: {error}"
        raise UnusableModelError(path_of(metadata, artifact), problem) from error


def _noise(shape: tuple[int, ...], metadata: ModelMetadata) -> Windows:
    """Return windows that resemble features, since a model may legitimately fail on constants."""
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return noise.astype(metadata.input_type, copy=False)
