"""The registry's rules over one folder, synchronous. `ModelRegistry` is its async face.

Readers take no lock: every change becomes visible by one rename. Writers of a model take turns
through a lock file, across processes. The stage links decide who holds a stage; the stage in
`metadata.json` follows them and is corrected on read when a writer died in between.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from registry import store
from registry.errors import (
    CorruptArtifactError,
    EmptyStageError,
    InvalidMetadataError,
    InvalidNameError,
    MissingArtifactError,
    ProductionVersionError,
    UnknownModelError,
    UnknownVersionError,
    VersionExistsError,
)
from registry.layout import STAGE_LINKS, Layout
from registry.records import (
    DIRECTIONS,
    OUTPUTS,
    ModelInfo,
    ModelMetadata,
    ModelStage,
    check_artifact_name,
)

logger = logging.getLogger(__name__)

BYTES_PER_MB = 1_000_000
PRIMARY_ARTIFACTS = {".pt": "model.pt", ".pth": "model.pt", ".onnx": "model.onnx"}
"""Name under which the file given as `model_path` is kept, by its suffix."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class RegistryFolder:
    """All models below `root`; see the module's docstring for the guarantees."""

    def __init__(self, root: Path, now: Callable[[], datetime] = _utc_now) -> None:
        self.layout = Layout(root)
        self._now = now

    def register(
        self, name: str, version: str, files: Mapping[str, Path], fields: Mapping[str, Any]
    ) -> ModelInfo:
        """Publish `files` (source by artifact name) as a new version; see ModelRegistry."""
        target = self.layout.version(name, version)
        for artifact, source in files.items():
            check_artifact_name(artifact)
            if not source.is_file():
                raise MissingArtifactError(source, f"the file to register as {artifact}")
        draft = self._draft(name, version, fields, files)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._writing(name):
            if target.exists():
                return self._accept_identical(draft, files)
            incoming = self.layout.incoming(name)
            incoming.mkdir()
            try:
                digests = {
                    artifact: store.copy_file(source, incoming / artifact)
                    for artifact, source in files.items()
                }
                metadata = draft.model_copy(update={"artifacts": digests})
                store.write_file(
                    incoming / self.layout.metadata(name, version).name, _dump(metadata)
                )
                store.publish_folder(incoming, target)
            except BaseException:
                shutil.rmtree(incoming, ignore_errors=True)
                raise
        return ModelInfo(metadata=metadata, path=target)

    def get(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        """Return one version: the named one, the stage's holder, or production, else the latest."""
        if version is not None:
            return self._info(name, version)
        if stage is not None:
            return self._info(name, self._holder_or_raise(name, stage))
        holder = self.holder(name, ModelStage.PRODUCTION)
        return self._info(name, holder or self.versions(name)[-1])

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, oldest first; at least one, else UnknownModelError."""
        versions = self.layout.versions(name)
        if not versions:
            raise UnknownModelError(name, self.models())
        return versions

    def models(self) -> list[str]:
        """Return the names of the models that have at least one version."""
        return [name for name in self.layout.models() if self.layout.versions(name)]

    def list(self, name: str | None = None) -> list[ModelInfo]:
        """Return every version of one model, or of all, sorted by name and precedence."""
        names = self.models() if name is None else [name]
        return [self._info(each, version) for each in names for version in self.versions(each)]

    def set_stage(self, name: str, version: str, stage: ModelStage) -> None:
        """Move a version to a stage; a former holder of Production is archived."""
        with self._writing(name):
            self._info(name, version)
            former = self.holder(name, stage) if stage in STAGE_LINKS else None
            in_production = self.holder(name, ModelStage.PRODUCTION) == version
            if in_production and stage is not ModelStage.PRODUCTION:
                raise ProductionVersionError(name, version, f"move to {stage}")
            if stage in STAGE_LINKS:
                folder = self.layout.version(name, version).name
                store.point_link(self.layout.stage_link(name, stage), folder)
            if stage is not ModelStage.STAGING and self.holder(name, ModelStage.STAGING) == version:
                store.remove_link(self.layout.stage_link(name, ModelStage.STAGING))
            self._record_stage(name, version, stage)
            if former is not None and former != version:
                self._record_stage(name, former, _after_losing(stage))

    def holder(self, name: str, stage: ModelStage) -> str | None:
        """Return the version that holds Production or Staging, None when none does."""
        link = self.layout.stage_link(name, stage)
        try:
            target = link.readlink()
        except FileNotFoundError:
            return None
        version = target.name.removeprefix("v")
        if str(target) != f"v{version}":
            raise InvalidMetadataError(f"{name}/{link.name}", f"the link leads to {target}")
        return version

    def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, checked against the sha256 in the metadata."""
        info = self._info(name, version)
        expected = info.metadata.artifacts.get(artifact)
        path = info.artifact_path(artifact)
        if expected is None:
            known = ", ".join(info.metadata.artifacts)
            raise MissingArtifactError(path, f"one of the version's artifacts: {known}")
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise MissingArtifactError(path, f"the artifact with sha256 {expected}") from None
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise CorruptArtifactError(path, expected, actual)
        return content

    def _writing(self, name: str) -> AbstractContextManager[Any]:
        """Hold the lock of an existing model; UnknownModelError otherwise."""
        if not self.layout.model(name).is_dir():
            raise UnknownModelError(name, self.models())
        return FileLock(self.layout.lock(name))

    def _info(self, name: str, version: str) -> ModelInfo:
        path = self.layout.version(name, version)
        file = self.layout.metadata(name, version)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            if path.is_dir():
                raise InvalidMetadataError(str(file), "the file is missing") from None
            raise UnknownVersionError(name, version, self.versions(name)) from None
        try:
            metadata = ModelMetadata.model_validate_json(content)
        except ValidationError as error:
            raise InvalidMetadataError(str(file), _sentence(error)) from error
        if (metadata.name, metadata.version) != (name, version):
            found = f"{metadata.name}:{metadata.version}"
            raise InvalidMetadataError(str(file), f"expected {name}:{version}, found {found}")
        stage = self._stage(name, version, metadata.stage)
        return ModelInfo(metadata=metadata.model_copy(update={"stage": stage}), path=path)

    def _stage(self, name: str, version: str, recorded: ModelStage) -> ModelStage:
        """Return the stage by the links, which decide; `recorded` tells only archived from none."""
        for stage in STAGE_LINKS:
            if self.holder(name, stage) == version:
                return stage
        return _after_losing(recorded) if recorded in STAGE_LINKS else recorded

    def _holder_or_raise(self, name: str, stage: ModelStage) -> str:
        if stage not in STAGE_LINKS:
            raise InvalidNameError("stage", stage, "Production or Staging, which one version holds")
        self.versions(name)
        holder = self.holder(name, stage)
        if holder is None:
            raise EmptyStageError(name, stage)
        return holder

    def _record_stage(self, name: str, version: str, stage: ModelStage) -> None:
        metadata = self._info(name, version).metadata
        changed = metadata.model_copy(update={"stage": stage, "updated_at": self._now()})
        store.write_file(self.layout.metadata(name, version), _dump(changed))

    def _draft(
        self, name: str, version: str, fields: Mapping[str, Any], files: Mapping[str, Path]
    ) -> ModelMetadata:
        """Return validated metadata, before the artifacts' digests are known."""
        now = self._now()
        size_bytes = sum(source.stat().st_size for source in files.values())
        defaults = {
            "output_names": {output: output for output in OUTPUTS},
            "label_map": {index: label for label, index in DIRECTIONS.items()},
        }
        try:
            return ModelMetadata(
                **{
                    **defaults,
                    **fields,
                    "name": name,
                    "version": version,
                    "created_at": now,
                    "updated_at": now,
                    "model_size_mb": size_bytes / BYTES_PER_MB,
                    "artifacts": {},
                }
            )
        except ValidationError as error:
            raise InvalidMetadataError(f"{name}:{version}", _sentence(error)) from error

    def _accept_identical(self, draft: ModelMetadata, files: Mapping[str, Path]) -> ModelInfo:
        """Return the published version if the offered one is the same, else raise."""
        published = self._info(draft.name, draft.version)
        offered = {artifact: store.sha256_of(source) for artifact, source in files.items()}
        if offered != published.metadata.artifacts:
            raise VersionExistsError(
                draft.name, draft.version, _digests(published.metadata.artifacts), _digests(offered)
            )
        differing = [
            field
            for field in _IMMUTABLE_FIELDS
            if getattr(draft, field) != getattr(published.metadata, field)
        ]
        if differing:
            raise VersionExistsError(
                draft.name,
                draft.version,
                "; ".join(f"{field}={getattr(published.metadata, field)}" for field in differing),
                "; ".join(f"{field}={getattr(draft, field)}" for field in differing),
            )
        logger.info("%s:%s is already registered with identical content", draft.name, draft.version)
        return published


_IMMUTABLE_FIELDS = (
    "model_type",
    "framework",
    "training_params",
    "dataset_info",
    "input_shape",
    "output_names",
    "label_map",
)


def _after_losing(stage: ModelStage) -> ModelStage:
    """Return where a version stands once another one has taken its stage."""
    return ModelStage.ARCHIVED if stage is ModelStage.PRODUCTION else ModelStage.NONE


def _digests(artifacts: Mapping[str, str]) -> str:
    return ", ".join(f"{artifact} sha256 {digest}" for artifact, digest in artifacts.items())


def _dump(metadata: ModelMetadata) -> bytes:
    return metadata.model_dump_json(indent=2).encode() + b"\n"


def _sentence(error: ValidationError) -> str:
    """Return pydantic's findings as one line: field, problem, what came."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}" for item in error.errors()
    )
