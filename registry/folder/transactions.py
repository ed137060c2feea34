"""Transactions: one change of a model at a time, across processes, safe against crashes.

A change is prepared in temporary files, recorded as an intent (`registry.folder.journal`),
committed by one rename and then settled. Settling can be repeated: if the writer dies before it
has finished, the next writer completes it.
"""

import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta

from filelock import FileLock
from pydantic import ValidationError

from registry.author import default_author
from registry.errors import InvalidMetadataError, StorageError, UnknownModelError
from registry.folder import atomic_io
from registry.folder.metadata import describe
from registry.folder.reader import FolderReader
from registry.folder.stage_links import stage_after
from registry.folder.version_files import DAMAGED, check_no_link
from registry.layout import ADDED, DELETED, STAGE_LINKS
from registry.records import KEEPS_STAGE, Action, HistoryEntry, ModelStage

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 60.0
"""How long a writer waits for another one; a suspended writer must not block a rollback forever."""


LOCK_POLL_S = 0.05


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Transactions:
    """Locks a model and applies changes to it.

    Args:
        reader: reads the folder that the changes apply to.
        now: the clock of the history.
    """

    def __init__(self, reader: FolderReader, now: Callable[[], datetime] = utc_now) -> None:
        self._reader = reader
        self._layout = reader.layout
        self.now = now

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of an existing model.

        Raises:
            UnknownModelError: the model has no folder.
            StorageError: a file operation failed while the lock was held, or locking itself did.
        """
        self._check_exists(name)
        try:
            atomic_io.make_file(self._layout.lock(name))
            with FileLock(self._layout.lock(name), timeout=LOCK_TIMEOUT_S):
                yield
        except OSError as error:
            raise StorageError.of(self._layout.root, error) from error

    @contextmanager
    def lock_for_reading(self, name: str) -> Iterator[None]:
        """Keep the writers of an existing model out; requires no permission to write.

        Without a readable lock file, as in a copy, there is nothing to wait for: nothing is locked.

        Raises:
            UnknownModelError: the model has no folder.
            StorageError: a writer holds the lock for too long.
        """
        self._check_exists(name)
        with ExitStack() as stack:
            try:
                descriptor = os.open(self._layout.lock(name), os.O_RDONLY | os.O_NOFOLLOW)
                stack.callback(os.close, descriptor)
                self._wait_for_writers(name, descriptor)
            except FileNotFoundError:
                logger.debug("%s has no lock file: no process changes this copy", name)
            except OSError as error:
                logger.warning(
                    "%s is read without its lock: a change in progress may look like a leftover: "
                    "%s",
                    name,
                    error,
                )
            yield

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock of an existing model, with any interrupted change completed first."""
        with self.lock(name):
            self.complete_interrupted(name)
            yield

    def entry(
        self,
        name: str,
        action: Action,
        version: str,
        *,
        by: str | None,
        reason: str,
        from_stage: ModelStage | None = None,
        to_stage: ModelStage | None = None,
        replaced: str | None = None,
        added: tuple[str, ...] = (),
        serves: str | None = None,
    ) -> HistoryEntry:
        """Return a new history entry, later than the last one even if the clock was set back.

        Raises:
            InvalidMetadataError: `by` or `reason` is not text that UTF-8 can encode.
        """
        last = self._reader.journal(name).last()
        now = self.now()
        try:
            return HistoryEntry(
                id=uuid.uuid4().hex,
                time=now if last is None else max(now, last.time + timedelta(microseconds=1)),
                action=action,
                version=version,
                from_stage=from_stage,
                to_stage=to_stage,
                replaced=replaced,
                added=added,
                serves=serves,
                by=by or default_author(),
                reason=reason,
            )
        except ValidationError as error:
            raise InvalidMetadataError(f"a change of {name}:{version}", describe(error)) from error

    def apply(self, name: str, entry: HistoryEntry, commit: Callable[[], None]) -> None:
        """Record the intent, commit, settle and add the entry to the history.

        The caller holds the model's lock. Once committed, the change is visible to readers, which
        recognise it by its intent. If the disk is then too full to settle it, the next writer does
        so; the change itself has succeeded.
        """
        journal = self._reader.journal(name)
        journal.begin(entry)
        try:
            commit()
        except BaseException:
            if not self._reader.is_committed(name, entry):
                self._discard(name, entry)
            raise
        try:
            self._settle(name, entry)
            journal.finish(entry)
        except OSError as error:
            logger.warning(
                "%s:%s was %s, but its follow-up writes failed: %s; free disk space, then the next "
                "change or repair completes them",
                name,
                entry.version,
                entry.action,
                error,
            )

    def complete_interrupted(self, name: str) -> None:
        """Complete or discard the change of a dead writer; the caller holds the model's lock."""
        journal = self._reader.journal(name)
        intent = journal.intent()
        if intent is None:
            return
        if self._reader.is_committed(name, intent):
            self._settle(name, intent)
            journal.finish(intent)
        else:
            self._discard(name, intent)

    def record_stage(
        self, name: str, version: str, stage: ModelStage, time: datetime | None = None
    ) -> None:
        """Write a version's stage to its metadata; the caller holds the model's lock."""
        metadata = self._reader.files.read(name, version).metadata
        if metadata.stage is not stage:
            changed = {"stage": stage, "updated_at": time or self.now()}
            self._reader.files.write(metadata.model_copy(update=changed))

    def _check_exists(self, name: str) -> None:
        if not self._layout.has_model(name):
            raise UnknownModelError(name, self._reader.files.models())
        check_no_link(self._layout.model(name))

    def _wait_for_writers(self, name: str, descriptor: int) -> None:
        deadline_s = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline_s:
                    problem = f"locked for {LOCK_TIMEOUT_S:g} s"
                    remedy = "another process changes the model: wait for it or end it"
                    raise StorageError(self._layout.lock(name), problem, remedy) from error
                time.sleep(LOCK_POLL_S)
            else:
                return

    def _discard(self, name: str, entry: HistoryEntry) -> None:
        """Remove the traces of a change that was not committed; may be repeated."""
        version = entry.version
        if entry.action in (Action.UNSTAGED, Action.RETIRED):
            with suppress(*DAMAGED):
                self.record_stage(name, version, self._reader.get(name, version).metadata.stage)
        if entry.added:
            with suppress(*DAMAGED):
                info = self._reader.get(name, version)
                for artifact in entry.added:
                    if artifact not in info.metadata.artifacts:
                        info.artifact_path(artifact).unlink(missing_ok=True)
                for path in info.path.glob(f"{ADDED}*"):
                    path.unlink()
        self._reader.journal(name).drop()

    def _settle(self, name: str, entry: HistoryEntry) -> None:
        """Write what follows from a committed change; may be repeated."""
        links = self._reader.links
        if (
            entry.to_stage is ModelStage.PRODUCTION
            and links.targets(name).get(ModelStage.STAGING) == entry.version
        ):
            links.remove(name, ModelStage.STAGING)
        if entry.action is Action.DELETED:
            for folder in self._layout.model(name).glob(f"{DELETED}v{entry.version}-*"):
                shutil.rmtree(folder)
        elif entry.to_stage in STAGE_LINKS and entry.action not in KEEPS_STAGE:
            stages = {entry.version: entry.to_stage}
            if entry.replaced not in (None, entry.version):
                stages[entry.replaced] = stage_after(entry.to_stage)
            for version, stage in stages.items():
                with suppress(*DAMAGED):  # the links decide, and verify reports the damage
                    self.record_stage(name, version, stage, entry.time)
