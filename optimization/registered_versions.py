"""Optimisation of a registered version: its artifacts in, optimised artifacts and evidence out."""

import hashlib
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from optimization.errors import InvalidModelError
from optimization.export.exporter import export_onnx
from optimization.measurement.machine import differences, this_machine
from optimization.measurement.parity import NO_DIRECTION
from optimization.measurement.windows import (
    Evaluation,
    noise,
    read_windows,
    split_windows,
)
from optimization.progress import Report, silent
from optimization.runtime import Windows
from optimization.search.evidence import artifact_name, published, samples_document, summary
from optimization.search.search import Search, SearchSettings, search
from registry import ModelInfo, ModelMetadata
from registry.architectures import load_checkpoint
from registry.outputs import DIRECTION_OUTPUTS
from registry.reference_outputs import ARTIFACT, EXPORTED_PREFIX
from registry.signatures import SigningKey, derived_from, manifest


class Registry(Protocol):
    """The methods used of a registry, local or in a cluster."""

    async def get_model(self, name: str, version: str) -> ModelInfo:
        """Return a version."""

    async def try_out(self, name: str, version: str) -> None:
        """Load and run a version under the limits of a trial run."""

    async def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content."""

    async def add_artifacts(
        self,
        name: str,
        version: str,
        artifacts: Mapping[str, Path | str],
        optimization: Mapping[str, Any],
        serving_artifact: str | None = None,
        *,
        derived_signatures: Mapping[str, str] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Add files to a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A version to optimise."""

    metadata: ModelMetadata
    artifact: str
    """Names the FP32 artifact: `model.onnx`, or the name of a new export."""
    content: bytes
    """Holds the FP32 ONNX model."""
    is_new: bool
    """Whether the artifact was exported just now and is not published yet."""
    windows: Windows | None
    """The version's own, from the artifact `windows.npz`."""

    @property
    def path(self) -> Path:
        """Return the artifact's location for messages."""
        return Path(self.metadata.name, f"v{self.metadata.version}", self.artifact)


async def read_source(registry: Registry, name: str, version: str) -> Source:
    """Return the source of a version's optimisation; a checkpoint without ONNX is exported first.

    The version passes a trial run first, since the optimisation runs its files without limits.

    Raises:
        RegistryError: the version does not exist, or its files are damaged or do not run.
        OptimizationError: its network cannot be exported, or its windows are invalid.
    """
    metadata = (await registry.get_model(name, version)).metadata
    await registry.try_out(name, version)
    windows = None
    if ARTIFACT in metadata.artifacts:
        content = await registry.read_artifact(name, version, ARTIFACT)
        where = f"{name}/v{version}/{ARTIFACT}"
        windows = windows_in(io.BytesIO(content), metadata, where)
    if "model.onnx" in metadata.artifacts:
        onnx = await registry.read_artifact(name, version, "model.onnx")
        artifact = "model.onnx"
    elif "model.pt" in metadata.artifacts:
        checkpoint = await registry.read_artifact(name, version, "model.pt")
        onnx = _export(checkpoint, metadata)
        artifact = f"{EXPORTED_PREFIX}{hashlib.sha256(onnx).hexdigest()[:8]}.onnx"
    else:
        problem = f"its artifacts are {', '.join(metadata.artifacts)}; register either with it"
        raise InvalidModelError(f"{name}:{version}", "a model.onnx or a model.pt", problem)
    return Source(
        metadata=metadata,
        artifact=artifact,
        content=onnx,
        is_new=artifact not in metadata.artifacts,
        windows=windows,
    )


def windows_in(
    source: Path | BinaryIO, metadata: ModelMetadata, name: str | None = None
) -> Windows:
    """Return the windows in a file in the type of a version's input; see `read_windows`."""
    return read_windows(
        source,
        metadata.input_shape,
        name,
        dtype=metadata.input_type,
        accepts_missing=metadata.accepts_missing,
    )


def evaluation_of(
    source: Source, given: Windows | None = None, given_source: str = "given"
) -> Evaluation:
    """Return the windows for the evaluation: those given, else the version's own, else noise."""
    direction = next(
        (
            source.metadata.output_names[direction_output]
            for direction_output in DIRECTION_OUTPUTS
            if direction_output in source.metadata.output_names
        ),
        NO_DIRECTION,
    )
    windows, where = given, given_source
    if windows is None:
        windows, where = source.windows, f"artifact {ARTIFACT}"
    if windows is None:
        generated = noise(source.metadata.input_shape).astype(source.metadata.input_type)
        return split_windows(generated, "standard normal noise", is_real=False, direction=direction)
    accepts_missing = source.metadata.accepts_missing
    return split_windows(windows, where, direction=direction, accepts_missing=accepts_missing)


def other_machine(source: Source) -> list[str]:
    """Describe the differences that make the version's earlier evidence incomparable.

    Timings of another processor, or with other versions of the libraries, are not comparable. The
    list is empty if the machine is the same or there is no earlier evidence.
    """
    former = (source.metadata.optimization or {}).get("machine")
    return differences(former, this_machine().as_json()) if isinstance(former, dict) else []


def search_source(
    source: Source, evaluation: Evaluation, settings: SearchSettings, report: Report = silent
) -> Search:
    """Search for the best file of a version's FP32 model; see `optimization.search.search`."""
    return search(source.content, source.path, evaluation, settings, report)


async def publish(
    registry: Registry,
    source: Source,
    found: Search,
    by: str | None = None,
    reason: str = "",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    key: SigningKey | None = None,
) -> ModelInfo:
    """Add the results of a search to the version, and serve it from the recommended artifact.

    The files of the Pareto front, the raw samples, and the evidence in the metadata are added in
    one step. Published files do not change. With a `key`, the files are signed.

    Raises:
        RegistryError: the registry rejects the change, and nothing is added.
    """
    time = now()
    files = published(found, source.artifact)
    if source.is_new:
        files[source.artifact] = source.content
    samples = f"optimization_{time:%Y%m%dT%H%M%S%fZ}.json"
    evidence = summary(found, source.artifact, this_machine(), time, samples)
    files[samples] = samples_document(found, evidence)
    with tempfile.TemporaryDirectory(prefix="tradeserve-optimized-") as folder:
        paths = {name: Path(folder, name) for name in files}
        for name, path in paths.items():
            path.write_bytes(files[name])
        return await registry.add_artifacts(
            source.metadata.name,
            source.metadata.version,
            paths,
            evidence,
            artifact_name(found.chosen, source.artifact),
            derived_signatures=key.sign(_manifest(source.metadata, files)) if key else None,
            by=by,
            reason=reason or f"optimised for {found.settings.goal}",
        )


def _manifest(metadata: ModelMetadata, files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of a version with further files."""
    added = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name not in metadata.artifacts
    }
    update = {
        "artifacts": {**metadata.artifacts, **added},
        "derived": derived_from(metadata, added),
    }
    return manifest(metadata.model_copy(update=update), derived=True)


def _export(checkpoint: bytes, metadata: ModelMetadata) -> bytes:
    network = load_checkpoint(checkpoint, metadata.model_type, metadata.training_params)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export_onnx(network, path, metadata.input_shape)
        return path.read_bytes()
