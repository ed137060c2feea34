"""Changes to a registry folder: one writer of a model at a time, across processes.

A change is prepared aside, written down as an intent (`registry.folder.journal`), committed by one
rename and then settled: what follows from it can be done again, by the next writer if this one
dies.
"""

import getpass
import logging
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from registry.errors import (
    DeletedVersionError,
    InvalidMetadataError,
    MissingArtifactError,
    NothingToRollBackError,
    StageHeldError,
    StorageError,
    UnknownModelError,
)
from registry.folder import atomic_io
from registry.folder.drafts import draft_metadata, refuse_other_content, refuse_unwritable
from registry.folder.journal import rollback_target
from registry.folder.pickles import refuse_code
from registry.folder.reader import DAMAGED, RegistryReader, after_losing, sentence
from registry.layout import ADDED, DELETED, METADATA, STAGE_LINKS
from registry.records import (
    KEEPS_STAGE,
    Action,
    HistoryEntry,
    ModelInfo,
    ModelMetadata,
    ModelStage,
    check_artifact_name,
)

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 60.0
"""How long a writer waits for another one; a stopped one must not hold up a rollback in silence."""

Check = Callable[[ModelMetadata, Callable[[str], bytes]], None]
"""Loads and runs a version, given its metadata and what reads its artifacts; raises why not."""

_STAGE_ACTIONS = {
    ModelStage.PRODUCTION: Action.PROMOTED,
    ModelStage.STAGING: Action.STAGED,
    ModelStage.ARCHIVED: Action.RETIRED,
    ModelStage.NONE: Action.UNSTAGED,
}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class RegistryWriter(RegistryReader):
    """All models below `root`, to read and to change.

    Every change takes `by` (who; the process's user and host if None) and `reason` for the history.
    """

    def __init__(self, root: Path, check: Check, now: Callable[[], datetime] = _utc_now) -> None:
        super().__init__(root)
        self._check = check
        self._now = now

    def register(
        self,
        name: str,
        version: str,
        files: Mapping[str, Path],
        fields: Mapping[str, Any],
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Publish `files` (source by artifact name) as a new version; see ModelRegistry."""
        target = self.layout.version(name, version)
        for artifact, source in files.items():
            check_artifact_name(artifact)
            if not source.is_file():
                raise MissingArtifactError(source, f"the file to register as {artifact}")
            refuse_code(source)
        draft = draft_metadata(name, version, fields, files, self._now())
        self._make_model_folder(name)
        with self._writing(name):
            if target.exists():
                return self._accept_identical(draft, files)
            self._refuse_deleted(name, version)
            entry = self._entry(name, Action.REGISTERED, version, by, reason)
            incoming = self.layout.incoming(name)
            try:
                incoming.mkdir()
                digests = {
                    artifact: atomic_io.copy_file(source, incoming / artifact)
                    for artifact, source in files.items()
                }
                metadata = draft.model_copy(
                    update={
                        "artifacts": digests,
                        "created_at": entry.time,
                        "updated_at": entry.time,
                    }
                )
                atomic_io.write_file(incoming / METADATA, _dump(metadata))
                self._change(name, entry, lambda: atomic_io.publish_folder(incoming, target))
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
        return ModelInfo(metadata=metadata, path=target)

    def try_out(self, name: str, version: str) -> None:
        """Load and run a version as before it takes a stage; raise what keeps it from serving."""
        metadata = self.get(name, version).metadata
        self._check(metadata, lambda artifact: self.read_artifact(name, version, artifact))

    def set_stage(
        self, name: str, version: str, stage: ModelStage, by: str | None = None, reason: str = ""
    ) -> None:
        """Move a version to a stage; what takes Production or Staging is loaded and run first."""
        if stage in STAGE_LINKS:
            self.try_out(name, version)
        with self._writing(name):
            present = self.get(name, version).metadata.stage
            if present is stage and stage in STAGE_LINKS:
                return
            if present is ModelStage.PRODUCTION:
                raise StageHeldError(name, version, present, f"move to {stage}")
            self._move(name, _STAGE_ACTIONS[stage], version, by, reason)

    def rollback(self, name: str, by: str | None = None, reason: str = "") -> ModelInfo:
        """Put the version into production that was there before the present one.

        Rolling back again goes back further. Deleted and retired versions are passed over.
        """
        while True:
            version = self._rollback_target(name)
            self.try_out(name, version)
            with self._writing(name):
                if self._rollback_target(name) == version:  # else: changed while it was tried out
                    self._move(name, Action.ROLLED_BACK, version, by, reason)
                    return self.get(name, version)

    def retire(self, name: str, version: str, by: str | None = None, reason: str = "") -> None:
        """Archive a version; it then holds no stage."""
        with self._writing(name):
            present = self.get(name, version).metadata.stage
            if ModelStage.PRODUCTION is present or version == self.lost_production(name):
                raise StageHeldError(name, version, ModelStage.PRODUCTION, "retire")
            self._move(name, Action.RETIRED, version, by, reason)

    def delete(self, name: str, version: str, by: str | None = None, reason: str = "") -> None:
        """Remove a version that holds no stage, with its files; its number stays taken."""
        with self._writing(name):
            info = self.get(name, version)
            if info.metadata.stage in STAGE_LINKS:
                raise StageHeldError(name, version, info.metadata.stage, "delete")
            if version == self.lost_production(name):
                raise StageHeldError(name, version, ModelStage.PRODUCTION, "delete")
            entry = self._entry(name, Action.DELETED, version, by, reason, info.metadata.stage)
            away = self.layout.deleted(name, version)
            self._change(name, entry, lambda: atomic_io.publish_folder(info.path, away))

    def update_metrics(
        self,
        name: str,
        version: str,
        metrics: Mapping[str, float],
        by: str | None = None,
        reason: str = "",
    ) -> None:
        """Add figures to a version, replacing those of the same names."""
        with self._writing(name):
            metadata = self.get(name, version).metadata
            stage = metadata.stage
            entry = self._entry(name, Action.METRICS_UPDATED, version, by, reason, stage, stage)
            changed = {"metrics": {**metadata.metrics, **metrics}, "updated_at": entry.time}
            try:
                updated = ModelMetadata.model_validate({**metadata.model_dump(), **changed})
            except ValidationError as error:
                raise InvalidMetadataError(f"{name}:{version}", sentence(error)) from error
            refuse_unwritable(updated)
            self._change(name, entry, lambda: self._write_metadata(updated))

    def finish_interrupted(self, name: str) -> HistoryEntry | None:
        """Finish or drop the change that a dead writer left; the caller holds the model's lock."""
        journal = self.journal(name)
        intent = journal.intent()
        if intent is None:
            return None
        if self._happened(name, intent):
            self._settle(name, intent)
            journal.finish(intent)
        else:
            self._drop(name, intent)
        return intent

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of an existing model."""
        if not self.layout.model(name).is_dir():
            raise UnknownModelError(name, self.models())
        self._refuse_link(self.layout.model(name))
        try:
            with FileLock(self.layout.lock(name), timeout=LOCK_TIMEOUT_S):
                yield
        except OSError as error:
            raise StorageError(self.layout.root, str(error)) from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        with self.lock(name):
            self.finish_interrupted(name)
            yield

    def _move(self, name: str, action: Action, version: str, by: str | None, reason: str) -> None:
        """Take a version to the stage that the action leads to."""
        stage = _stage_after(action)
        replaced = self.holders(name).get(stage)
        metadata = self.get(name, version).metadata
        entry = self._entry(name, action, version, by, reason, metadata.stage, stage, replaced)
        if stage in STAGE_LINKS:
            link, folder = self.layout.stage_link(name, stage), self.layout.version(name, version)
            self._change(name, entry, lambda: atomic_io.point_link(link, folder.name))
        else:
            moved = metadata.model_copy(update={"stage": stage, "updated_at": entry.time})
            self._change(name, entry, lambda: self._take_off_stage(moved))

    def _take_off_stage(self, moved: ModelMetadata) -> None:
        """Write the metadata; the link decides, so for a staged version its removal commits."""
        self._write_metadata(moved)
        if self.links(moved.name).get(ModelStage.STAGING) == moved.version:
            atomic_io.remove_link(self.layout.stage_link(moved.name, ModelStage.STAGING))

    def _change(self, name: str, entry: HistoryEntry, commit: Callable[[], None]) -> None:
        """Commit a change between its intent and its line in the history.

        Once committed it counts: readers see it, and tell it from its intent. When the disk is too
        full for what follows, the next writer does that, so this is no failure of the change.
        """
        journal = self.journal(name)
        journal.begin(entry)
        try:
            commit()
        except BaseException:
            if not self._happened(name, entry):
                self._drop(name, entry)
            raise
        try:
            self._settle(name, entry)
            journal.finish(entry)
        except OSError as error:
            logger.warning(
                "%s:%s was %s, but not all that follows could be written: %s; free the disk, then "
                "the next change or repair writes the rest",
                name,
                entry.version,
                entry.action,
                error,
            )

    def _drop(self, name: str, entry: HistoryEntry) -> None:
        """Forget a change that was prepared but not committed; harmless when done before."""
        if entry.action in (Action.UNSTAGED, Action.RETIRED):
            with suppress(*DAMAGED):
                self.record_stage(name, entry.version, self.get(name, entry.version).metadata.stage)
        if entry.added:
            with suppress(*DAMAGED):
                info = self.get(name, entry.version)
                for artifact in entry.added:
                    if artifact not in info.metadata.artifacts:
                        info.artifact_path(artifact).unlink(missing_ok=True)
                for path in info.path.glob(f"{ADDED}*"):
                    path.unlink()
        self.journal(name).drop()

    def _settle(self, name: str, entry: HistoryEntry) -> None:
        """Do what follows from a committed change; harmless when done before."""
        if (
            entry.to_stage is ModelStage.PRODUCTION
            and self.links(name).get(ModelStage.STAGING) == entry.version
        ):
            atomic_io.remove_link(self.layout.stage_link(name, ModelStage.STAGING))
        if entry.action is Action.DELETED:
            for folder in self.layout.model(name).glob(f"{DELETED}v{entry.version}-*"):
                shutil.rmtree(folder)
        elif entry.to_stage in STAGE_LINKS and entry.action not in KEEPS_STAGE:
            stages = {entry.version: entry.to_stage}
            if entry.replaced not in (None, entry.version):
                stages[entry.replaced] = after_losing(entry.to_stage)
            for version, stage in stages.items():
                with suppress(*DAMAGED):  # the links decide, and verify tells of the damage
                    self.record_stage(name, version, stage, entry.time)

    def record_stage(
        self, name: str, version: str, stage: ModelStage, time: datetime | None = None
    ) -> None:
        """Let the metadata follow the links; the caller holds the model's lock."""
        metadata = self._metadata(name, version)
        if metadata.stage is not stage:
            changed = {"stage": stage, "updated_at": time or self._now()}
            self._write_metadata(metadata.model_copy(update=changed))

    def _write_metadata(self, metadata: ModelMetadata) -> None:
        atomic_io.write_file(self.layout.metadata(metadata.name, metadata.version), _dump(metadata))

    def _rollback_target(self, name: str) -> str:
        target = rollback_target(self.history(name))
        if target is None:
            raise NothingToRollBackError(name, self.holders(name).get(ModelStage.PRODUCTION))
        return target

    def _entry(
        self,
        name: str,
        action: Action,
        version: str,
        by: str | None,
        reason: str,
        from_stage: ModelStage | None = None,
        to_stage: ModelStage | None = None,
        replaced: str | None = None,
    ) -> HistoryEntry:
        """Return the change's line, later than the line before even if the clock went back."""
        last = self.journal(name).last()
        now = self._now()
        try:
            return HistoryEntry(
                id=uuid.uuid4().hex,
                time=now if last is None else max(now, last.time + timedelta(microseconds=1)),
                action=action,
                version=version,
                from_stage=from_stage,
                to_stage=ModelStage.NONE if action is Action.REGISTERED else to_stage,
                replaced=replaced,
                by=by or f"{getpass.getuser()}@{socket.gethostname()}",
                reason=reason,
            )
        except ValidationError as error:
            raise InvalidMetadataError(f"a change of {name}:{version}", sentence(error)) from error

    def _make_model_folder(self, name: str) -> None:
        folder = self.layout.model(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(self.layout.root, str(error)) from error

    def _refuse_deleted(self, name: str, version: str) -> None:
        for entry in self.history(name):
            if entry.version == version and entry.action is Action.DELETED:
                raise DeletedVersionError(name, version, entry.time.isoformat(), entry.by)

    def _accept_identical(self, offered: ModelMetadata, files: Mapping[str, Path]) -> ModelInfo:
        """Return the published version if the offered one is the same, else raise."""
        published = self.get(offered.name, offered.version)
        digests = {artifact: atomic_io.sha256_of(source) for artifact, source in files.items()}
        joined = {
            artifact
            for entry in self.history(offered.name)
            if entry.version == offered.version
            for artifact in entry.added
        }
        registered = {
            artifact: digest
            for artifact, digest in published.metadata.artifacts.items()
            if artifact not in joined or artifact in digests
        }
        refuse_other_content(offered, digests, published.metadata, registered)
        for artifact in files:
            self.read_artifact(offered.name, offered.version, artifact)  # or it is damaged there
        kept = [
            field
            for field in ("description", "metrics", "tags")
            if getattr(offered, field) != getattr(published.metadata, field)
        ]
        logger.warning(
            "%s:%s is registered already with identical content: nothing to do%s",
            offered.name,
            offered.version,
            f"; its {', '.join(kept)} stay as they are, see update_metrics" if kept else "",
        )
        return published


def _stage_after(action: Action) -> ModelStage:
    if action is Action.ROLLED_BACK:
        return ModelStage.PRODUCTION
    return next(stage for stage, each in _STAGE_ACTIONS.items() if each is action)


def _dump(metadata: ModelMetadata) -> bytes:
    return metadata.model_dump_json(indent=2).encode() + b"\n"
