"""What a registry folder holds, for readers: no locks, no changes.

Every change becomes visible by one rename, so a reader sees the state before it or after it. The
stage links decide who holds a stage; the stage in `metadata.json` follows them and is corrected on
read when a writer died in between.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from registry.comparison import Comparison, compare
from registry.errors import (
    CorruptArtifactError,
    EmptyStageError,
    InvalidMetadataError,
    InvalidNameError,
    MissingArtifactError,
    SchemaVersionError,
    UnknownModelError,
    UnknownVersionError,
    UnsafePathError,
)
from registry.folder import atomic_io
from registry.folder.journal import Journal, production_at
from registry.layout import METADATA, STAGE_LINKS, Layout, is_version
from registry.records import (
    SCHEMA_VERSION,
    Action,
    HistoryEntry,
    ModelInfo,
    ModelMetadata,
    ModelStage,
)

logger = logging.getLogger(__name__)

ATTEMPTS = 20
"""How often a read begins again because the version it was led to has just been deleted."""

DAMAGED = (UnknownModelError, UnknownVersionError, InvalidMetadataError, UnsafePathError)
"""How a version answers whose folder or metadata was removed or altered by other hands."""

Holders = Mapping[ModelStage, str]
"""The version that holds each stage."""


class _Known(NamedTuple):
    """A metadata file as it was when it was last read."""

    file: str
    state: tuple[int, int, int]
    """Time of change, inode and size: every write of ours gives another inode."""
    info: ModelInfo


class RegistryReader:
    """All models below `root`; see the module's docstring for the guarantees."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self._known: dict[tuple[str, str], _Known] = {}

    def models(self) -> list[str]:
        """Return the names of the models that have at least one version."""
        return [name for name in self.layout.models() if self.layout.versions(name)]

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, oldest first; at least one, else UnknownModelError."""
        self._refuse_link(self.layout.model(name))
        versions = self.layout.versions(name)
        if not versions:
            raise UnknownModelError(name, self.models())
        return versions

    def get(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        """Return one version: the named one, the stage's holder, or production, else the latest."""
        if version is not None:
            return self._info(name, version, self.holders(name))
        if stage is not None and stage not in STAGE_LINKS:
            raise InvalidNameError("stage", stage, "Production or Staging, which one version holds")
        for attempt in range(ATTEMPTS):
            self.holder(name, stage or ModelStage.PRODUCTION)  # raises where the link is broken
            holders = self.holders(name)
            wanted = holders.get(stage or ModelStage.PRODUCTION)
            if wanted is None and stage is not None:
                self.versions(name)
                raise EmptyStageError(name, stage)
            try:
                return self._info(name, wanted or self.versions(name)[-1], holders)
            except UnknownVersionError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def list_versions(self, name: str | None = None) -> list[ModelInfo]:
        """Return every version of one model, or of all, sorted by name and precedence.

        One whose metadata cannot be read is left out, with an error in the log: it must not hide
        the others. `get` raises for it, and `verify` finds it.
        """
        if name is not None:
            self._refuse_link(self.layout.model(name))
            found = self._list_model(name)
            if not found:
                raise UnknownModelError(name, self.models())
            return found
        return [info for each in self.layout.models() for info in self._list_model(each)]

    def holders(self, name: str) -> Holders:
        """Return the version that holds each stage; a stage that none holds is left out.

        The production version holds Production alone: after a promotion from staging its other
        link is removed next.
        """
        found = dict(self.links(name))
        if found.get(ModelStage.STAGING) == found.get(ModelStage.PRODUCTION):
            found.pop(ModelStage.STAGING, None)
        return found

    def links(self, name: str) -> Holders:
        """Return the version that each stage's link leads to."""
        found = {}
        for stage in STAGE_LINKS:
            try:
                version = self.holder(name, stage)
            except InvalidMetadataError as error:
                logger.warning("%s; nothing counts as %s until it is mended", error, stage)
            else:
                if version is not None:
                    found[stage] = version
        return found

    def holder(self, name: str, stage: ModelStage) -> str | None:
        """Return the version that holds a stage, None when none does.

        Raises:
            InvalidMetadataError: what stands in the link's place is none of ours.
        """
        link = self.layout.stage_link(name, stage)
        try:
            target = link.readlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = (
                "expected a link to a version's folder; set the stage anew or restore the link"
            )
            raise InvalidMetadataError(f"{name}/{link.name}", problem) from error
        version = target.name.removeprefix("v")
        if str(target) != f"v{version}" or not is_version(version):
            raise InvalidMetadataError(f"{name}/{link.name}", f"the link leads to {target}")
        return version

    def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, checked against the sha256 in the metadata."""
        info = self.get(name, version)
        expected = info.metadata.artifacts.get(artifact)
        path = info.artifact_path(artifact)
        if expected is None:
            known = ", ".join(info.metadata.artifacts)
            raise MissingArtifactError(path, f"one of the version's artifacts: {known}")
        try:
            content = atomic_io.read_file(path)
        except FileNotFoundError:
            raise MissingArtifactError(path, f"the artifact with sha256 {expected}") from None
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise CorruptArtifactError(path, expected, actual)
        return content

    def history(self, name: str) -> list[HistoryEntry]:
        """Return all that happened to a model, oldest first, also to versions since deleted."""
        self._refuse_link(self.layout.model(name))
        if not self.layout.model(name).is_dir():
            raise UnknownModelError(name, self.models())
        journal = self.journal(name)
        intent = journal.intent()
        entries = journal.entries()
        if intent and intent not in entries and self._happened(name, intent):
            entries.append(intent)
        return entries

    def production_at(self, name: str, time: datetime) -> str | None:
        """Return the version in production at `time` (with a time zone), None when none was."""
        if time.tzinfo is None:
            raise InvalidNameError("time", time.isoformat(), "a time with a time zone")
        return production_at(self.history(name), time)

    def lost_production(self, name: str) -> str | None:
        """Return what the history says is in production, if the link to it is lost or broken."""
        versions = self.layout.versions(name)
        if self.holders(name).get(ModelStage.PRODUCTION) in versions:
            return None
        entries = self.history(name)
        told = production_at(entries, entries[-1].time) if entries else None
        return told if told in versions else None

    def compare(self, name: str, version1: str, version2: str) -> Comparison:
        """Return how two versions differ; differences are version2 - version1."""
        return compare(self.get(name, version1).metadata, self.get(name, version2).metadata)

    def recorded_stage(self, name: str, version: str) -> ModelStage:
        """Return the stage that the version's metadata says, whatever the links say."""
        return self._metadata(name, version).stage

    def journal(self, name: str) -> Journal:
        """Return the model's journal."""
        return Journal(self.layout.history(name), self.layout.intent(name))

    def _list_model(self, name: str) -> list[ModelInfo]:
        infos: list[ModelInfo] = []
        broken: set[str] = set()
        for _ in range(ATTEMPTS):
            holders = self.holders(name)
            infos, broken = [], set()
            for version in self.layout.versions(name):
                try:
                    infos.append(self._describe(name, version, holders))
                except UnknownVersionError:
                    continue  # deleted since
                except (InvalidMetadataError, UnsafePathError) as error:
                    logger.warning("left out of the list: %s; verify tells more", error)
                    broken.add(version)
            listed = {info.metadata.version for info in infos} | broken
            if set(holders.values()) <= listed and self.holders(name) == holders:
                break
        return infos

    def _info(self, name: str, version: str, holders: Holders) -> ModelInfo:
        folder = self.layout.version(name, version)
        self._refuse_link(folder.parent)
        self._refuse_link(folder)
        return self._describe(name, version, holders)

    def _describe(self, name: str, version: str, holders: Holders) -> ModelInfo:
        """Return a version whose folder is known to be a real one."""
        info = self._recorded(name, version)
        stage = _stage(info.metadata, holders)
        if info.metadata.stage is stage:
            return info
        return info.model_copy(
            update={"metadata": info.metadata.model_copy(update={"stage": stage})}
        )

    def _metadata(self, name: str, version: str) -> ModelMetadata:
        return self._recorded(name, version).metadata

    def _recorded(self, name: str, version: str) -> ModelInfo:
        """Return what the metadata file says; parsed once for every state of the file."""
        known = self._known.get((name, version))
        folder = known.info.path if known else self.layout.version(name, version)
        file = known.file if known else f"{folder}/{METADATA}"
        try:
            status = os.lstat(file)
            state = (status.st_mtime_ns, status.st_ino, status.st_size)
            if known is None or known.state != state:
                info = ModelInfo(metadata=_parse(file, name, version), path=folder)
                known = self._known[name, version] = _Known(file, state, info)
        except FileNotFoundError:
            self._known.pop((name, version), None)
            if folder.is_dir():
                raise InvalidMetadataError(file, "the file is missing") from None
            raise UnknownVersionError(name, version, self.versions(name)) from None
        return known.info

    def _happened(self, name: str, entry: HistoryEntry) -> bool:
        """Tell from the folder whether the commit of a change that was under way took place."""
        match entry.action:
            case Action.REGISTERED:
                return self.layout.version(name, entry.version).is_dir()
            case Action.DELETED:
                return not self.layout.version(name, entry.version).is_dir()
            case Action.PROMOTED | Action.ROLLED_BACK:
                return self.holders(name).get(ModelStage.PRODUCTION) == entry.version
            case Action.STAGED:
                return self.holders(name).get(ModelStage.STAGING) == entry.version
            case Action.UNSTAGED | Action.RETIRED:
                is_staged = self.links(name).get(ModelStage.STAGING) == entry.version
                return not is_staged and self._was_written(name, entry)
            case Action.METRICS_UPDATED | Action.OPTIMIZED | Action.PINNED:
                return self._was_written(name, entry)

    def _was_written(self, name: str, entry: HistoryEntry) -> bool:
        try:
            return self._metadata(name, entry.version).updated_at == entry.time
        except DAMAGED:
            return False

    def _refuse_link(self, path: Path) -> None:
        if path.is_symlink():
            raise UnsafePathError(path)


def _stage(metadata: ModelMetadata, holders: Holders) -> ModelStage:
    """Return the stage by the links, which decide; the metadata tells only archived from none."""
    for stage, version in holders.items():
        if version == metadata.version:
            return stage
    return after_losing(metadata.stage) if metadata.stage in STAGE_LINKS else metadata.stage


def after_losing(stage: ModelStage) -> ModelStage:
    """Return where a version stands once another one has taken its stage."""
    return ModelStage.ARCHIVED if stage is ModelStage.PRODUCTION else ModelStage.NONE


def sentence(error: ValidationError) -> str:
    """Return pydantic's findings as one line: field, problem, what came."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}" for item in error.errors()
    )


def _parse(file: str, name: str, version: str) -> ModelMetadata:
    content = atomic_io.read_file(file)
    try:
        metadata = ModelMetadata.model_validate_json(content)
    except ValidationError as error:
        _refuse_other_schema(file, content)
        raise InvalidMetadataError(file, sentence(error)) from error
    if (metadata.name, metadata.version) != (name, version):
        found = f"{metadata.name}:{metadata.version}"
        raise InvalidMetadataError(file, f"expected {name}:{version}, found {found}")
    return metadata


def _refuse_other_schema(file: str, content: bytes) -> None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return  # no JSON at all: that is the better reason
    if not isinstance(document, dict):
        return
    found = document.get("schema_version", SCHEMA_VERSION)
    if found != SCHEMA_VERSION:
        raise SchemaVersionError(file, SCHEMA_VERSION, found)
