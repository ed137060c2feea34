"""Reads a registry folder without locks.

Every change becomes visible by one rename, so a reader sees the state before it or the state after
it. The stage links determine the stages; the stage in `metadata.json` follows them, and the reader
corrects it when a writer died in between.
"""

import hashlib
import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from registry.comparison import Comparison, compare
from registry.errors import (
    CorruptArtifactError,
    EmptyStageError,
    InvalidMetadataError,
    InvalidNameError,
    MissingArtifactError,
    UnknownModelError,
    UnknownVersionError,
    UnreadablePathError,
)
from registry.folder import atomic_io
from registry.folder.journal import Journal, production_at, recorded_holders
from registry.folder.stage_links import Holders, StageLinks, stage_of
from registry.folder.version_files import DAMAGED, UNREADABLE, VersionFiles, check_no_link
from registry.layout import STAGE_LINKS, Layout, is_folder
from registry.records import (
    KEEPS_STAGE,
    Action,
    HistoryEntry,
    ModelInfo,
    ModelMetadata,
    ModelStage,
)

logger = logging.getLogger(__name__)

ATTEMPTS = 20
"""How often a read restarts because the version it found was deleted in the meantime."""


class FolderReader:
    """All models below `root`; see the module's docstring for the guarantees."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.files = VersionFiles(self.layout)
        self.links = StageLinks(self.layout)

    def get(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        """Return the given version, or the one in `stage`; by default production, else the latest.

        Raises:
            UnknownModelError, UnknownVersionError: it does not exist.
            EmptyStageError: no version is in the stage.
            InvalidMetadataError: the version or the stage's link was removed or modified
                externally.
            UnreadablePathError: this user may not read the version.
        """
        if version is not None:
            return self._version(name, version, self.links.holders(name))
        if stage is not None and stage not in STAGE_LINKS:
            raise InvalidNameError("stage", stage, "Production or Staging, which one version holds")
        for attempt in range(ATTEMPTS):
            self.links.target(name, stage or ModelStage.PRODUCTION)  # raises for an invalid link
            holders = self.links.holders(name)
            wanted = holders.get(stage or ModelStage.PRODUCTION)
            if wanted is None and stage is not None:
                versions = self.files.versions(name)
                self._check_not_lost(name, stage, versions)
                raise EmptyStageError(name, stage)
            try:
                return self._version(name, wanted or self.files.versions(name)[-1], holders)
            except UnknownVersionError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def list_versions(self, name: str | None = None) -> list[ModelInfo]:
        """Return every version of one model, or of all, sorted by name and precedence.

        A version with unreadable metadata, or an unreadable model, is logged and left out, so that
        it does not hide the others. `get` raises for it, and `verify` reports it.
        """
        if name is None:
            return [info for model in self.layout.models() for info in self._list_or_log(model)]
        check_no_link(self.layout.model(name))
        found = self._list_model(name)
        if not found:
            raise UnknownModelError(name, self.files.models())
        return found

    def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, verified against the sha256 in the metadata."""
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

    def compare(self, name: str, version1: str, version2: str) -> Comparison:
        """Return how two versions differ; differences are version2 - version1."""
        return compare(self.get(name, version1).metadata, self.get(name, version2).metadata)

    def history(self, name: str) -> list[HistoryEntry]:
        """Return all changes of a model, oldest first, including those of deleted versions."""
        check_no_link(self.layout.model(name))
        if not self.layout.has_model(name):
            raise UnknownModelError(name, self.files.models())
        journal = self.journal(name)
        intent = journal.intent()
        entries = journal.entries()
        if intent and intent not in entries and self.is_committed(name, intent):
            entries.append(intent)
        return entries

    def production_at(self, name: str, time: datetime) -> str | None:
        """Return the version in production at `time` (with a time zone), None if there was none."""
        if time.tzinfo is None:
            raise InvalidNameError("time", time.isoformat(), "a time with a time zone")
        return production_at(self.history(name), time)

    def expected_holders(self, name: str) -> Holders:
        """Return the version in each stage by its link, by the record where the link is lost.

        The record is the history or, without one, the stages in the metadata.
        """
        versions = self.layout.versions(name)
        for _ in range(ATTEMPTS):
            holders = self.links.holders(name)
            linked = {stage: held for stage, held in holders.items() if held in versions}
            if not versions or len(linked) == len(STAGE_LINKS):
                return linked
            recorded = self._recorded_holders(name, versions)
            if self.links.holders(name) == holders:  # otherwise a writer was between the two
                break
        expected = {
            stage: recorded[stage]
            for stage in STAGE_LINKS
            if stage in recorded and recorded[stage] in versions
        } | linked
        if expected.get(ModelStage.STAGING) == expected.get(ModelStage.PRODUCTION):
            expected.pop(ModelStage.STAGING, None)
        return expected

    def expected_stage(self, metadata: ModelMetadata) -> ModelStage:
        """Return the stage of a version, by the record where its link is lost."""
        return stage_of(metadata, self.expected_holders(metadata.name))

    def journal(self, name: str) -> Journal:
        """Return the model's journal."""
        return Journal(self.layout.history(name), self.layout.intent(name))

    def is_committed(self, name: str, entry: HistoryEntry) -> bool:
        """Return whether the folder shows that the change `entry` was committed."""
        match entry.action:
            case Action.REGISTERED:
                return is_folder(self.layout.version(name, entry.version))
            case Action.DELETED:
                return not is_folder(self.layout.version(name, entry.version))
            case Action.PROMOTED | Action.ROLLED_BACK:
                return self.links.holders(name).get(ModelStage.PRODUCTION) == entry.version
            case Action.STAGED:
                return self.links.holders(name).get(ModelStage.STAGING) == entry.version
            case Action.UNSTAGED | Action.RETIRED:
                is_staged = self.links.targets(name).get(ModelStage.STAGING) == entry.version
                return not is_staged and self._was_written(name, entry)
            case action:
                assert action in KEEPS_STAGE, action
                return self._was_written(name, entry)

    def _was_written(self, name: str, entry: HistoryEntry) -> bool:
        try:
            return self.files.read(name, entry.version).metadata.updated_at == entry.time
        except DAMAGED:
            return False

    def _holders_by_history(self, name: str) -> Holders | None:
        """Return the version in each stage by the history; None without a readable history."""
        try:
            entries = self.history(name)
        except UNREADABLE as error:
            logger.warning("%s: stages without the history: %s", name, error)
            return None
        return recorded_holders(entries) if entries else None

    def _recorded_holders(self, name: str, versions: list[str]) -> Holders:
        by_history = self._holders_by_history(name)
        if by_history is not None:
            return by_history
        recorded: dict[ModelStage, list[str]] = {}
        for version in versions:
            with suppress(*DAMAGED):
                stage = self.files.read(name, version).metadata.stage
                recorded.setdefault(stage, []).append(version)
        return {
            stage: recorded[stage][0] for stage in STAGE_LINKS if len(recorded.get(stage, ())) == 1
        }

    def _check_not_lost(self, name: str, stage: ModelStage, versions: list[str]) -> None:
        """Raise InvalidMetadataError if a stage is empty only because its link was removed."""
        recorded = self._holders_by_history(name) or {}
        lost = recorded.get(stage)
        if lost in versions and stage not in self.links.holders(name):
            problem = (
                f"by the history version {lost} is in {stage}, but there is no link to it; run "
                f"`modelctl repair {name}`, or set the stage again"
            )
            raise InvalidMetadataError(f"{name}/{STAGE_LINKS[stage]}", problem)

    def _list_or_log(self, name: str) -> list[ModelInfo]:
        try:
            return self._list_model(name)
        except UnreadablePathError as error:
            logger.warning("model left out of the list: %s; run verify", error)
            return []

    def _list_model(self, name: str) -> list[ModelInfo]:
        infos: list[ModelInfo] = []
        broken: set[str] = set()
        for _ in range(ATTEMPTS):
            holders = self.links.holders(name)
            infos, broken = [], set()
            for version in self.layout.versions(name):
                try:
                    infos.append(self._staged(self.files.read(name, version), holders))
                except UnknownVersionError:
                    continue  # deleted in the meantime
                except UNREADABLE as error:
                    logger.warning("version left out of the list: %s; run verify", error)
                    broken.add(version)
            listed = {info.metadata.version for info in infos} | broken
            if set(holders.values()) <= listed and self.links.holders(name) == holders:
                break
        return infos

    def _version(self, name: str, version: str, holders: Holders) -> ModelInfo:
        folder = self.layout.version(name, version)
        check_no_link(folder.parent)
        check_no_link(folder)
        return self._staged(self.files.read(name, version), holders)

    def _staged(self, info: ModelInfo, holders: Holders) -> ModelInfo:
        """Return the version with the stage that the links determine."""
        stage = stage_of(info.metadata, holders)
        if info.metadata.stage is stage:
            return info
        return info.model_copy(
            update={"metadata": info.metadata.model_copy(update={"stage": stage})}
        )
