"""The registry's API: versions of models, their stages and their files."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from registry.errors import InvalidNameError
from registry.folder import PRIMARY_ARTIFACTS, RegistryFolder
from registry.records import ModelInfo, ModelStage

DEFAULT_ROOT = Path("models")


class ModelRegistry:
    """Versioned models in a folder, safe with writers in several processes.

    Every method raises `registry.errors.RegistryError` with what was expected and what came.
    The file work happens in a worker thread, so that an event loop goes on meanwhile.
    """

    def __init__(self, root: Path | str = DEFAULT_ROOT) -> None:
        self._folder = RegistryFolder(Path(root))

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

        Returns:
            The new version, or the published one when its content is identical.

        Raises:
            VersionExistsError: the version is published with other content.
            MissingArtifactError, InvalidNameError, InvalidMetadataError: see their messages.
        """
        source = Path(model_path)
        primary = PRIMARY_ARTIFACTS.get(source.suffix)
        if primary is None:
            raise InvalidNameError("model file", str(model_path), "a file named *.pt or *.onnx")
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
        return await asyncio.to_thread(self._folder.register, name, version, files, fields)

    async def get_model(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        """Return a version by its number or stage; by default production, else the latest."""
        return await asyncio.to_thread(self._folder.get, name, version, stage)

    async def get_production_model(self, name: str) -> ModelInfo:
        """Return the version in production; EmptyStageError when there is none."""
        return await self.get_model(name, stage=ModelStage.PRODUCTION)

    async def get_staging_model(self, name: str) -> ModelInfo:
        """Return the version in staging; EmptyStageError when there is none."""
        return await self.get_model(name, stage=ModelStage.STAGING)

    async def list_models(self, name: str | None = None) -> list[ModelInfo]:
        """Return every version of the model, or of all, by name and semantic precedence."""
        return await asyncio.to_thread(self._folder.list, name)

    async def set_model_stage(self, name: str, version: str, stage: ModelStage) -> bool:
        """Move a version to a stage; at most one holds Production, at most one Staging."""
        await asyncio.to_thread(self._folder.set_stage, name, version, stage)
        return True

    async def promote_to_production(self, name: str, version: str) -> bool:
        """Put a version into production; the former one is archived."""
        return await self.set_model_stage(name, version, ModelStage.PRODUCTION)

    async def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, checked against the sha256 in the metadata."""
        return await asyncio.to_thread(self._folder.read_artifact, name, version, artifact)


@cache
def get_model_registry(root: Path | str = DEFAULT_ROOT) -> ModelRegistry:
    """Return the registry in the folder `root`, the same object for the same argument."""
    return ModelRegistry(root)
