"""A reference model of the registry: the expected effect of every change, in a few dictionaries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from registry import ModelStage, errors
from registry.folder.reader import FolderReader
from registry.folder.registry_folder import RegistryFolder
from registry.records import Action, HistoryEntry, check_version

NAME = "toy"
ARTIFACTS = ("model.pt", "model.onnx")
ADDED = "model_int8.onnx"

Operation = Sequence[Any]
"""A change in a form that JSON can hold: ("stage", "1.0.0", "Production"), ("rollback",), …"""

_STAGED_BY = {
    ModelStage.PRODUCTION: Action.PROMOTED,
    ModelStage.STAGING: Action.STAGED,
    ModelStage.ARCHIVED: Action.RETIRED,
    ModelStage.NONE: Action.UNSTAGED,
}


class ExpectedError(Exception):
    """The registry must raise this error and change nothing."""

    def __init__(self, error: type[errors.RegistryError]) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class ReferenceModel:
    """The versions and history of one model. `apply` changes them, or raises ExpectedError."""

    stages: dict[str, ModelStage] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    """The content of the artifact ADDED by the version to which it was added."""
    serving: dict[str, str] = field(default_factory=dict)
    """The artifact selected to serve, by version."""
    lines: list[tuple[Action, str]] = field(default_factory=list)
    former: list[str] = field(default_factory=list)
    """The production versions before the current one, newest last."""
    retired: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def holder(self, stage: ModelStage) -> str | None:
        return next((version for version, held in self.stages.items() if held is stage), None)

    def apply(self, operation: Operation) -> None:
        verb, *arguments = operation
        getattr(self, verb)(*arguments)

    def expected_error(self, operation: Operation) -> type[errors.RegistryError] | None:
        """Apply the operation; return the error that the registry must raise, if any."""
        try:
            self.apply(operation)
        except ExpectedError as expected:
            return expected.error
        return None

    def register(self, version: str, content: str) -> None:
        self._check_version(version)
        if version in self.stages:
            if self.contents[version] != content:
                raise ExpectedError(errors.VersionExistsError)
            return
        if version in self.deleted:
            raise ExpectedError(errors.DeletedVersionError)
        self.stages[version], self.contents[version] = ModelStage.NONE, content
        self.metrics[version] = {}
        self.lines.append((Action.REGISTERED, version))

    def stage(self, version: str, stage: str) -> None:
        wanted = ModelStage(stage)
        present = self._present(version)
        if present is wanted and wanted in (ModelStage.PRODUCTION, ModelStage.STAGING):
            return
        if present is ModelStage.PRODUCTION:
            raise ExpectedError(errors.StageHeldError)
        if wanted is ModelStage.PRODUCTION and (holder := self.holder(wanted)):
            self.former.append(holder)
        self._move(version, wanted)
        (self.retired.add if wanted is ModelStage.ARCHIVED else self.retired.discard)(version)
        self.lines.append((_STAGED_BY[wanted], version))

    def retire(self, version: str) -> None:
        self.stage(version, ModelStage.ARCHIVED)

    def rollback(self) -> None:
        left = list(self.former)
        while left:
            version = left.pop()
            usable = version in self.stages and version not in self.retired
            if usable and version != self.holder(ModelStage.PRODUCTION):
                self.former = left
                self._move(version, ModelStage.PRODUCTION)
                self.lines.append((Action.ROLLED_BACK, version))
                return
        raise ExpectedError(errors.NothingToRollBackError)

    def delete(self, version: str) -> None:
        if self._present(version) in (ModelStage.PRODUCTION, ModelStage.STAGING):
            raise ExpectedError(errors.StageHeldError)
        del self.stages[version]
        self.deleted.add(version)
        self.lines.append((Action.DELETED, version))

    def update_metrics(self, version: str, metrics: dict[str, float]) -> None:
        self._present(version)
        if not all(isfinite(value) for value in metrics.values()):
            raise ExpectedError(errors.InvalidMetadataError)
        self.metrics[version] = {**self.metrics[version], **metrics}
        self.lines.append((Action.METRICS_UPDATED, version))

    def add_artifact(self, version: str, content: str) -> None:
        self._present(version)
        if self.added.get(version, content) != content:
            raise ExpectedError(errors.VersionExistsError)
        self.added[version] = content
        self.serving[version] = ADDED
        self.lines.append((Action.OPTIMIZED, version))

    def pin_artifact(self, version: str, artifact: str) -> None:
        self._present(version)
        if artifact == ADDED and version not in self.added:
            raise ExpectedError(errors.MissingArtifactError)
        if self.serving.get(version) == artifact:
            return
        self.serving[version] = artifact
        self.lines.append((Action.PINNED, version))

    def _present(self, version: str) -> ModelStage:
        self._check_version(version)
        if not self.stages:
            raise ExpectedError(errors.UnknownModelError)
        if version not in self.stages:
            raise ExpectedError(errors.UnknownVersionError)
        return self.stages[version]

    def _check_version(self, version: str) -> None:
        try:
            check_version(version)
        except errors.InvalidNameError:
            raise ExpectedError(errors.InvalidNameError) from None

    def _move(self, version: str, stage: ModelStage) -> None:
        holder = self.holder(stage)
        if holder and stage is ModelStage.PRODUCTION:
            self.stages[holder] = ModelStage.ARCHIVED
        elif holder and stage is ModelStage.STAGING:
            self.stages[holder] = ModelStage.NONE
        self.stages[version] = stage


def replay(entries: Sequence[HistoryEntry]) -> list[dict[ModelStage, str]]:
    """Return the version in each stage after each entry; ExpectedError for an impossible entry."""
    model = ReferenceModel()
    holders = []
    for entry in entries:
        before = list(model.lines)
        match entry.action:
            case Action.REGISTERED:
                model.register(entry.version, "any")
            case Action.ROLLED_BACK:
                model.rollback()
            case Action.DELETED:
                model.delete(entry.version)
            case Action.METRICS_UPDATED:
                model.update_metrics(entry.version, {})
            case Action.OPTIMIZED | Action.PINNED:
                model.lines.append((entry.action, entry.version))
            case _:
                model.stage(entry.version, entry.to_stage)
        assert model.lines == [*before, (entry.action, entry.version)]
        holders.append({stage: version for version, stage in model.stages.items()})
    return holders


def apply(folder: RegistryFolder, sources: Path, operation: Operation, reason: str = "") -> None:
    """Make the change on disk that `ReferenceModel.apply` makes in memory."""
    verb, *arguments = operation
    match verb:
        case "register":
            version, content = arguments
            files = dict.fromkeys(ARTIFACTS, sources / content)
            folder.versions.register(NAME, version, files, {"model_type": "Net"}, reason=reason)
        case "stage":
            version, stage = arguments
            folder.stages.set_stage(NAME, version, ModelStage(stage), reason=reason)
        case "add_artifact":
            version, content = arguments
            files = {ADDED: sources / content}
            folder.artifacts.add(NAME, version, files, {"of": content}, ADDED, reason=reason)
        case "pin_artifact":
            folder.artifacts.pin(NAME, *arguments, reason=reason)
        case "rollback" | "retire":
            getattr(folder.stages, verb)(NAME, *arguments, reason=reason)
        case "delete" | "update_metrics":
            getattr(folder.versions, verb)(NAME, *arguments, reason=reason)
        case _:
            raise ValueError(f"unknown operation {verb!r}")


def write_sources(folder: Path) -> Path:
    """Write the contents that the versions have in these tests, and return their folder."""
    folder.mkdir()
    for content in ("a", "b"):
        (folder / content).write_text(f"weights {content}")
    return folder


def snapshot(root: Path) -> dict[str, str | bytes | None]:
    """Return everything below `root`: contents of files, targets of links, None for folders."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(root.rglob("*"))
    }


def assert_same(reader: FolderReader, model: ReferenceModel) -> None:
    """Compare versions, stages, metrics, files and history as read with those of the model."""
    infos = reader.list_versions(NAME) if model.stages else []
    found = {info.metadata.version: info.metadata for info in infos}
    stages = {version: metadata.stage for version, metadata in found.items()}
    assert stages == model.stages
    assert {version: metadata.metrics for version, metadata in found.items()} == {
        version: model.metrics[version] for version in model.stages
    }
    for version, metadata in found.items():
        contents = dict.fromkeys(ARTIFACTS, model.contents[version])
        if version in model.added:
            contents[ADDED] = model.added[version]
            assert metadata.optimization == {"of": model.added[version]}
        assert tuple(metadata.artifacts) == tuple(contents)
        assert metadata.serving_artifact == model.serving.get(version)
        for artifact, expected in contents.items():
            content = reader.read_artifact(NAME, version, artifact)
            assert content == f"weights {expected}".encode()
    for stage in (ModelStage.PRODUCTION, ModelStage.STAGING):
        assert reader.links.holders(NAME).get(stage) == model.holder(stage)
    entries = reader.history(NAME) if reader.layout.model(NAME).is_dir() else []
    assert [(entry.action, entry.version) for entry in entries] == model.lines
    times = [entry.time for entry in entries]
    assert times == sorted(set(times))
