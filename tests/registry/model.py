"""The registry as a few dictionaries: what every change should lead to, without files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from registry import ModelStage, errors
from registry.folder.reader import RegistryReader
from registry.folder.serving_artifacts import ServingWriter
from registry.records import Action, HistoryEntry, check_version

NAME = "toy"
ARTIFACTS = ("model.pt", "model.onnx")
ADDED = "model_int8.onnx"

Operation = Sequence[Any]
"""What to do, as JSON can carry it: ("stage", "1.0.0", "Production"), ("rollback",), …"""

_STAGED_BY = {
    ModelStage.PRODUCTION: Action.PROMOTED,
    ModelStage.STAGING: Action.STAGED,
    ModelStage.ARCHIVED: Action.RETIRED,
    ModelStage.NONE: Action.UNSTAGED,
}


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """The registry must answer with this error and change nothing."""

    def __init__(self, error: type[errors.RegistryError]) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class RegistryModel:
    """One model's versions and history. `apply` changes them, or raises Refused."""

    stages: dict[str, ModelStage] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    """Content of the artifact ADDED by the version that it joined."""
    serving: dict[str, str] = field(default_factory=dict)
    """The artifact that was chosen to serve, by version."""
    lines: list[tuple[Action, str]] = field(default_factory=list)
    former: list[str] = field(default_factory=list)
    """Who was in production before the present version, newest last."""
    retired: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def holder(self, stage: ModelStage) -> str | None:
        return next((each for each, held in self.stages.items() if held is stage), None)

    def apply(self, operation: Operation) -> None:
        verb, *arguments = operation
        getattr(self, verb)(*arguments)

    def refusal(self, operation: Operation) -> type[errors.RegistryError] | None:
        """Apply the operation; return the error that must refuse it, if one must."""
        try:
            self.apply(operation)
        except Refused as refused:
            return refused.error
        return None

    def register(self, version: str, content: str) -> None:
        self._check_version(version)
        if version in self.stages:
            if self.contents[version] != content:
                raise Refused(errors.VersionExistsError)
            return
        if version in self.deleted:
            raise Refused(errors.DeletedVersionError)
        self.stages[version], self.contents[version] = ModelStage.NONE, content
        self.metrics[version] = {}
        self.lines.append((Action.REGISTERED, version))

    def stage(self, version: str, stage: str) -> None:
        wanted = ModelStage(stage)
        present = self._present(version)
        if present is wanted and wanted in (ModelStage.PRODUCTION, ModelStage.STAGING):
            return
        if present is ModelStage.PRODUCTION:
            raise Refused(errors.StageHeldError)
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
        raise Refused(errors.NothingToRollBackError)

    def delete(self, version: str) -> None:
        if self._present(version) in (ModelStage.PRODUCTION, ModelStage.STAGING):
            raise Refused(errors.StageHeldError)
        del self.stages[version]
        self.deleted.add(version)
        self.lines.append((Action.DELETED, version))

    def update_metrics(self, version: str, metrics: dict[str, float]) -> None:
        self._present(version)
        if not all(isfinite(value) for value in metrics.values()):
            raise Refused(errors.InvalidMetadataError)
        self.metrics[version] = {**self.metrics[version], **metrics}
        self.lines.append((Action.METRICS_UPDATED, version))

    def add_artifact(self, version: str, content: str) -> None:
        self._present(version)
        if self.added.get(version, content) != content:
            raise Refused(errors.VersionExistsError)
        self.added[version] = content
        self.serving[version] = ADDED
        self.lines.append((Action.OPTIMIZED, version))

    def pin_artifact(self, version: str, artifact: str) -> None:
        self._present(version)
        if artifact == ADDED and version not in self.added:
            raise Refused(errors.MissingArtifactError)
        if self.serving.get(version) == artifact:
            return
        self.serving[version] = artifact
        self.lines.append((Action.PINNED, version))

    def _present(self, version: str) -> ModelStage:
        self._check_version(version)
        if not self.stages:
            raise Refused(errors.UnknownModelError)
        if version not in self.stages:
            raise Refused(errors.UnknownVersionError)
        return self.stages[version]

    def _check_version(self, version: str) -> None:
        try:
            check_version(version)
        except errors.InvalidNameError:
            raise Refused(errors.InvalidNameError) from None

    def _move(self, version: str, stage: ModelStage) -> None:
        holder = self.holder(stage)
        if holder and stage is ModelStage.PRODUCTION:
            self.stages[holder] = ModelStage.ARCHIVED
        elif holder and stage is ModelStage.STAGING:
            self.stages[holder] = ModelStage.NONE
        self.stages[version] = stage


def replay(entries: Sequence[HistoryEntry]) -> list[dict[ModelStage, str]]:
    """Return who held each stage after each line of a history; Refused if a line is impossible."""
    model = RegistryModel()
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


def apply(registry: ServingWriter, sources: Path, operation: Operation, reason: str = "") -> None:
    """Do on the disk what `RegistryModel.apply` does in memory."""
    verb, *arguments = operation
    match verb:
        case "register":
            version, content = arguments
            files = dict.fromkeys(ARTIFACTS, sources / content)
            registry.register(NAME, version, files, {"model_type": "Net"}, reason=reason)
        case "stage":
            version, stage = arguments
            registry.set_stage(NAME, version, ModelStage(stage), reason=reason)
        case "add_artifact":
            version, content = arguments
            files = {ADDED: sources / content}
            registry.add_artifacts(NAME, version, files, {"of": content}, ADDED, reason=reason)
        case _:
            getattr(registry, verb)(NAME, *arguments, reason=reason)


def write_sources(folder: Path) -> Path:
    """Write the contents that versions have in these tests, and return their folder."""
    folder.mkdir()
    for content in ("a", "b"):
        (folder / content).write_text(f"weights {content}")
    return folder


def snapshot(root: Path) -> dict[str, str | bytes | None]:
    """Return all there is below `root`: contents of files, targets of links, None for folders."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(root.rglob("*"))
    }


def assert_same(registry: RegistryReader, model: RegistryModel) -> None:
    """What a reader sees is what the model says: versions, stages, metrics, files and history."""
    infos = registry.list_versions(NAME) if model.stages else []
    found = {info.metadata.version: info.metadata for info in infos}
    assert {version: each.stage for version, each in found.items()} == model.stages
    assert {version: each.metrics for version, each in found.items()} == {
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
            content = registry.read_artifact(NAME, version, artifact)
            assert content == f"weights {expected}".encode()
    for stage in (ModelStage.PRODUCTION, ModelStage.STAGING):
        assert registry.holders(NAME).get(stage) == model.holder(stage)
    entries = registry.history(NAME) if registry.layout.model(NAME).is_dir() else []
    assert [(entry.action, entry.version) for entry in entries] == model.lines
    times = [entry.time for entry in entries]
    assert times == sorted(set(times))
