"""The registry in a folder, as an asynchronous interface."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from registry.api import RegistryApi
from registry.comparison import Comparison
from registry.errors import EmptyStageError, InvalidNameError
from registry.feature_sets import FeatureSetRecord
from registry.folder import inspection
from registry.folder.registry_folder import RegistryFolder
from registry.folder.stage_changes import Check
from registry.records import Finding, HistoryEntry, ModelInfo, ModelMetadata, ModelStage
from registry.trial_run import try_out

DEFAULT_ROOT = Path("models")
PRIMARY_ARTIFACTS = {".pt": "model.pt", ".pth": "model.pt", ".onnx": "model.onnx"}
"""The artifact name of the file given as `model_path`, by the file's suffix."""


class ModelRegistry(RegistryApi):
    """Versioned models in a folder, safe with writers in several processes.

    File operations run in a worker thread, so they do not block the event loop. `RegistryApi`
    documents the methods.

    >>> path = Path("forest.onnx")
    >>> path.write_bytes(b"an ONNX file")
    12
    >>> registry = ModelRegistry("models", check=lambda metadata, read: None)
    >>> info = asyncio.run(
    ...     registry.register_model("forest", "1.0.0", path, "RandomForest", metrics={"f1": 0.4})
    ... )
    >>> list(info.metadata.artifacts)
    ['model.onnx']
    >>> asyncio.run(registry.promote_to_production("forest", "1.0.0", reason="first version"))
    True
    >>> print(*(entry.action for entry in asyncio.run(registry.history("forest"))), sep=", ")
    registered, promoted

    Args:
        root: the folder; the first registration creates it.
        check: loads and runs a version before it enters a stage.
    """

    def __init__(self, root: Path | str = DEFAULT_ROOT, check: Check = try_out) -> None:
        self._folder = RegistryFolder(Path(root), check)

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
        feature_set: FeatureSetRecord | None = None,
        signatures: Mapping[str, str] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        if isinstance(tags, str):
            raise InvalidNameError("tags", tags, "a list of words")
        files = files_of(model_path, artifacts or {})
        fields: dict[str, Any] = {
            "model_type": model_type,
            "description": description,
            "framework": framework,
            "metrics": metrics or {},
            "training_params": training_params or {},
            "dataset_info": dataset_info or {},
            "input_shape": tuple(input_shape),
            "tags": tuple(tags),
            "feature_set": feature_set,
            "signatures": dict(signatures or {}),
        }
        if output_names is not None:
            fields["output_names"] = output_names
        if label_map is not None:
            fields["label_map"] = label_map
        return await asyncio.to_thread(
            self._folder.versions.register, name, version, files, fields, by, reason
        )

    async def get_model(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        return await asyncio.to_thread(self._folder.reader.get, name, version, stage)

    async def get_production_model(self, name: str) -> ModelInfo | None:
        return await self._holder(name, ModelStage.PRODUCTION)

    async def get_staging_model(self, name: str) -> ModelInfo | None:
        return await self._holder(name, ModelStage.STAGING)

    async def get_model_metadata(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelMetadata:
        return (await self.get_model(name, version, stage)).metadata

    async def list_models(self, name: str | None = None) -> list[ModelInfo]:
        return await asyncio.to_thread(self._folder.reader.list_versions, name)

    async def set_model_stage(
        self,
        name: str,
        version: str,
        stage: ModelStage,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        if stage not in set(ModelStage):
            raise InvalidNameError("stage", stage, f"one of {', '.join(ModelStage)}")
        stage = ModelStage(stage)
        await asyncio.to_thread(self._folder.stages.set_stage, name, version, stage, by, reason)
        return True

    async def try_out(self, name: str, version: str) -> None:
        await asyncio.to_thread(self._folder.stages.try_out, name, version)

    async def promote_to_production(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        return await self.set_model_stage(
            name, version, ModelStage.PRODUCTION, by=by, reason=reason
        )

    async def rollback(self, name: str, *, by: str | None = None, reason: str = "") -> ModelInfo:
        return await asyncio.to_thread(self._folder.stages.rollback, name, by, reason)

    async def retire_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        await asyncio.to_thread(self._folder.stages.retire, name, version, by, reason)
        return True

    async def delete_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        await asyncio.to_thread(self._folder.versions.delete, name, version, by, reason)
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
        await asyncio.to_thread(
            self._folder.versions.update_metrics, name, version, metrics, by, reason
        )
        return True

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
        files = {artifact: Path(path) for artifact, path in artifacts.items()}
        return await asyncio.to_thread(
            self._folder.artifacts.add,
            name,
            version,
            files,
            optimization,
            serving_artifact,
            by,
            reason,
            derived_signatures,
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
        await asyncio.to_thread(self._folder.artifacts.pin, name, version, artifact, by, reason)
        return True

    async def sign_version(
        self,
        name: str,
        version: str,
        signatures: Mapping[str, str],
        derived_signatures: Mapping[str, str] | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        await asyncio.to_thread(
            self._folder.versions.sign,
            name,
            version,
            signatures,
            derived_signatures or {},
            by,
            reason,
        )
        return True

    async def accept_feature_set(
        self,
        name: str,
        version: str,
        feature_set: FeatureSetRecord,
        signatures: Mapping[str, str] | None = None,
        derived_signatures: Mapping[str, str] | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        await asyncio.to_thread(
            self._folder.versions.accept_feature_set,
            name,
            version,
            feature_set,
            signatures or {},
            derived_signatures or {},
            by,
            reason,
        )
        return True

    async def compare_models(self, name: str, version1: str, version2: str) -> Comparison:
        return await asyncio.to_thread(self._folder.reader.compare, name, version1, version2)

    async def history(self, name: str) -> list[HistoryEntry]:
        return await asyncio.to_thread(self._folder.reader.history, name)

    async def production_at(self, name: str, time: datetime) -> str | None:
        return await asyncio.to_thread(self._folder.reader.production_at, name, time)

    async def verify(self, name: str | None = None) -> list[Finding]:
        return await asyncio.to_thread(inspection.verify, self._folder, name)

    async def repair(self, name: str | None = None) -> list[Finding]:
        return await asyncio.to_thread(inspection.repair, self._folder, name)

    async def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        return await asyncio.to_thread(self._folder.reader.read_artifact, name, version, artifact)

    async def _holder(self, name: str, stage: ModelStage) -> ModelInfo | None:
        try:
            return await self.get_model(name, stage=stage)
        except EmptyStageError:
            return None


def files_of(model_path: Path | str, artifacts: Mapping[str, Path | str]) -> Mapping[str, Path]:
    """Return the files of a registration by the names of their artifacts.

    Raises:
        InvalidNameError: the suffix of `model_path` is none of PRIMARY_ARTIFACTS, or an artifact
            has the name of that file.
    """
    source = Path(model_path)
    primary = PRIMARY_ARTIFACTS.get(source.suffix.lower())
    if primary is None:
        expected = "a file named *.pt, *.pth or *.onnx"
        raise InvalidNameError("model file", str(model_path), expected)
    if primary in artifacts:
        expected = f"a name other than {primary}, which is model_path's own"
        raise InvalidNameError("artifact name", primary, expected)
    return {primary: source, **{name: Path(path) for name, path in artifacts.items()}}


@cache
def get_model_registry(root: Path | str = DEFAULT_ROOT) -> ModelRegistry:
    """Return the registry in the folder `root`; equal arguments return the same object.

    >>> registry = get_model_registry("new_folder")
    >>> asyncio.run(registry.list_models())
    []
    >>> get_model_registry("new_folder") is registry
    True
    """
    return ModelRegistry(root)
