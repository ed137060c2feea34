"""The registry's API: versions of models, their stages and their files."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from registry.comparison import Comparison
from registry.errors import EmptyStageError, InvalidNameError
from registry.folder import inspection
from registry.folder.serving_artifacts import ServingWriter
from registry.folder.writer import Check
from registry.predictors import try_out
from registry.records import Finding, HistoryEntry, ModelInfo, ModelMetadata, ModelStage

DEFAULT_ROOT = Path("models")
PRIMARY_ARTIFACTS = {".pt": "model.pt", ".pth": "model.pt", ".onnx": "model.onnx"}
"""Name under which the file given as `model_path` is kept, by its suffix."""


class ModelRegistry:
    """Versioned models in a folder, safe with writers in several processes.

    Every method raises `registry.errors.RegistryError` with what was expected and what came.
    The file work happens in a worker thread, so that an event loop goes on meanwhile.

    What changes something takes `by`, who does it (the process's user and host if None), and
    `reason`; both stay in the model's history.

    Args:
        root: the folder; made by the first registration.
        check: what a version must pass before it takes a stage.
    """

    def __init__(self, root: Path | str = DEFAULT_ROOT, check: Check = try_out) -> None:
        self._folder = ServingWriter(Path(root), check)

    async def register_model(
        self,
        name: str,
        version: str,
        model_path: Path | str,
        model_type: str,
        description: str = "",
        *,
        framework: str = "pytorch",
        metrics: Mapping[str, float] | None = None,
        training_params: Mapping[str, Any] | None = None,
        dataset_info: Mapping[str, Any] | None = None,
        input_shape: Sequence[int] = (60, 110),
        output_names: Mapping[str, str] | None = None,
        label_map: Mapping[int, str] | None = None,
        tags: Sequence[str] = (),
        artifacts: Mapping[str, Path | str] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Copy the files into the registry as a new, immutable version.

        Args:
            name: the model's name: letters, digits, `_` and `-`.
            version: a semantic version, for example `1.0.0`.
            model_path: a checkpoint (`.pt`, state dict only) or an ONNX file (`.onnx`).
            model_type: the network's class, for example `HybridCNNLSTM`.
            description: what distinguishes this version, in words.
            framework: what the model was trained with.
            metrics: figures by name.
            training_params: how it was trained.
            dataset_info: on what it was trained; `dead_band` and `horizon_bars` belong here.
            input_shape: shape of one sample without the batch axis, (timesteps, features).
            output_names: the model's output name by meaning; by default the meanings themselves.
            label_map: HOLD, BUY or SELL by class index; by default 0, 1, 2 in this order.
            tags: words to find it by.
            artifacts: further files by the name they get, for example `model.onnx`.
            by: who registers it.
            reason: why.

        Returns:
            The new version, or the published one when its content is identical.

        Raises:
            VersionExistsError: the version is published with other content.
            DeletedVersionError: there was such a version once.
            UnreadableArtifactError: a file is a pickle that would run code.
            MissingArtifactError, InvalidNameError, InvalidMetadataError: see their messages.
        """
        source = Path(model_path)
        primary = PRIMARY_ARTIFACTS.get(source.suffix.lower())
        if primary is None:
            expected = "a file named *.pt, *.pth or *.onnx"
            raise InvalidNameError("model file", str(model_path), expected)
        if isinstance(tags, str):
            raise InvalidNameError("tags", tags, "a list of words")
        if primary in (artifacts or {}):
            expected = f"a name other than {primary}, which is model_path's own"
            raise InvalidNameError("artifact name", primary, expected)
        files = {primary: source, **{key: Path(path) for key, path in (artifacts or {}).items()}}
        fields: dict[str, Any] = {
            "model_type": model_type,
            "description": description,
            "framework": framework,
            "metrics": metrics or {},
            "training_params": training_params or {},
            "dataset_info": dataset_info or {},
            "input_shape": tuple(input_shape),
            "tags": tuple(tags),
        }
        if output_names is not None:
            fields["output_names"] = output_names
        if label_map is not None:
            fields["label_map"] = label_map
        return await asyncio.to_thread(
            self._folder.register, name, version, files, fields, by, reason
        )

    async def get_model(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        """Return a version by its number or stage; by default production, else the latest.

        Raises:
            UnknownModelError, UnknownVersionError: there is no such version; what is there.
            EmptyStageError: no version holds the stage.
        """
        return await asyncio.to_thread(self._folder.get, name, version, stage)

    async def get_production_model(self, name: str) -> ModelInfo | None:
        """Return the version in production, None when there is none."""
        return await self._holder(name, ModelStage.PRODUCTION)

    async def get_staging_model(self, name: str) -> ModelInfo | None:
        """Return the version in staging, None when there is none."""
        return await self._holder(name, ModelStage.STAGING)

    async def get_model_metadata(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelMetadata:
        """Return what is known of the version that `get_model` returns."""
        return (await self.get_model(name, version, stage)).metadata

    async def list_models(self, name: str | None = None) -> list[ModelInfo]:
        """Return every version of the model, or of all, by name and semantic precedence."""
        return await asyncio.to_thread(self._folder.list_versions, name)

    async def set_model_stage(
        self,
        name: str,
        version: str,
        stage: ModelStage,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Move a version to a stage; at most one holds Production, at most one Staging.

        What takes one of these is loaded and run first. The version that held Production before
        is archived, the one that held Staging goes back to None.

        Raises:
            ArtifactError: the version's files are damaged, or its model gives no usable answer.
            StageHeldError: the version is in production; promote another one instead.
        """
        if stage not in set(ModelStage):
            raise InvalidNameError("stage", stage, f"one of {', '.join(ModelStage)}")
        stage = ModelStage(stage)
        await asyncio.to_thread(self._folder.set_stage, name, version, stage, by, reason)
        return True

    async def try_out(self, name: str, version: str) -> None:
        """Load and run a version, as is done before it takes a stage; nothing changes.

        Raises:
            ArtifactError: its files are damaged, or its model gives no usable answer.
        """
        await asyncio.to_thread(self._folder.try_out, name, version)

    async def promote_to_production(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Put a version into production; see set_model_stage."""
        return await self.set_model_stage(
            name, version, ModelStage.PRODUCTION, by=by, reason=reason
        )

    async def rollback(self, name: str, *, by: str | None = None, reason: str = "") -> ModelInfo:
        """Bring back the version that was in production before, and return it.

        Again goes back further, never forth. Deleted and retired versions are passed over.

        Raises:
            NothingToRollBackError: no such version is left.
            ArtifactError: it cannot be loaded any more.
        """
        return await asyncio.to_thread(self._folder.rollback, name, by, reason)

    async def retire_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Archive a version, which then holds no stage; StageHeldError if it is in production."""
        await asyncio.to_thread(self._folder.retire, name, version, by, reason)
        return True

    async def delete_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Remove a version for good; StageHeldError if it is in production or staging.

        Its number is not used again: replicas may still serve it.
        """
        await asyncio.to_thread(self._folder.delete, name, version, by, reason)
        return True

    async def update_metrics(
        self,
        name: str,
        version: str,
        metrics: Mapping[str, float],
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Add figures to a version, replacing those of the same names."""
        await asyncio.to_thread(self._folder.update_metrics, name, version, metrics, by, reason)
        return True

    async def add_artifacts(
        self,
        name: str,
        version: str,
        artifacts: Mapping[str, Path | str],
        optimization: Mapping[str, Any],
        serving_artifact: str | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Let optimised files join a published version, in one step with their evidence.

        What is published stays as it is. Replicas that run go on with what they loaded; those of
        the next deployment load `serving_artifact`.

        Args:
            name: the model.
            version: its version.
            artifacts: the files by the name they get; one that is there already with the same
                content is left out.
            optimization: the evidence, replacing that of an earlier optimisation.
            serving_artifact: which artifact serves from now on, an old or a new one; it is loaded
                and run first. None: model.onnx where there is one, else model.pt.
            by: who adds them.
            reason: why.

        Raises:
            VersionExistsError: an artifact of that name is published with other content.
            ArtifactError: what should serve does not load, or its model gives no usable answer.
            MissingArtifactError, InvalidNameError, InvalidMetadataError: see their messages.
        """
        files = {artifact: Path(path) for artifact, path in artifacts.items()}
        return await asyncio.to_thread(
            self._folder.add_artifacts,
            name,
            version,
            files,
            optimization,
            serving_artifact,
            by,
            reason,
        )

    async def pin_artifact(
        self,
        name: str,
        version: str,
        artifact: str | None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Choose the artifact that a version is served from; it is loaded and run first.

        None goes back to model.onnx where there is one, else model.pt. Replicas that run go on
        with what they loaded.

        Raises:
            MissingArtifactError: the version has none of that name.
            ArtifactError: it does not load, or its model gives no usable answer.
        """
        await asyncio.to_thread(self._folder.pin_artifact, name, version, artifact, by, reason)
        return True

    async def compare_models(self, name: str, version1: str, version2: str) -> Comparison:
        """Return the metrics and sizes of two versions; differences are version2 - version1."""
        return await asyncio.to_thread(self._folder.compare, name, version1, version2)

    async def history(self, name: str) -> list[HistoryEntry]:
        """Return everything that happened to the model, oldest first."""
        return await asyncio.to_thread(self._folder.history, name)

    async def production_at(self, name: str, time: datetime) -> str | None:
        """Return the version in production at `time` (with a time zone); None before the first."""
        return await asyncio.to_thread(self._folder.production_at, name, time)

    async def verify(self, name: str | None = None) -> list[Finding]:
        """Return what is missing, changed or left over in the folder; see inspection.verify."""
        return await asyncio.to_thread(inspection.verify, self._folder, name)

    async def repair(self, name: str | None = None) -> list[Finding]:
        """Mend what loses nothing and return it; see inspection.repair."""
        return await asyncio.to_thread(inspection.repair, self._folder, name)

    async def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, checked against the sha256 in the metadata."""
        return await asyncio.to_thread(self._folder.read_artifact, name, version, artifact)

    async def _holder(self, name: str, stage: ModelStage) -> ModelInfo | None:
        try:
            return await self.get_model(name, stage=stage)
        except EmptyStageError:
            return None


@cache
def get_model_registry(root: Path | str = DEFAULT_ROOT) -> ModelRegistry:
    """Return the registry in the folder `root`, the same object for the same argument."""
    return ModelRegistry(root)
