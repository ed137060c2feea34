"""A model's history and its change in progress; complete even if the writer dies.

A change is recorded as an intent, committed by one rename and then added to the history. A writer
that dies leaves at most its intent. The next writer determines from the folder whether the change
was committed, and adds the entry to the history or discards the intent.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from registry.errors import InvalidMetadataError
from registry.folder import atomic_io
from registry.records import Action, HistoryEntry, ModelStage


class Journal:
    """The history file of one model and its intent."""

    def __init__(self, history: Path, intent: Path) -> None:
        self._history, self._intent = history, intent

    def entries(self) -> list[HistoryEntry]:
        """Return the history's entries, oldest first, without an incomplete last line."""
        return [_parse(self._history, line) for line in self._read()[0]]

    def last(self) -> HistoryEntry | None:
        """Return the newest entry, None if there is none."""
        lines, _ = self._read()
        return _parse(self._history, lines[-1]) if lines else None

    def intent(self) -> HistoryEntry | None:
        """Return the change in progress, None if there is none."""
        try:
            return _parse(self._intent, atomic_io.read_file(self._intent))
        except FileNotFoundError:
            return None

    def is_torn(self) -> bool:
        """Return whether writing the last line was interrupted."""
        return self._read()[1]

    def repair(self) -> None:
        """Remove an incomplete last line, and restore a missing line break at the end."""
        lines, _ = self._read()
        atomic_io.write_file(self._history, b"".join(line + b"\n" for line in lines))

    def begin(self, entry: HistoryEntry) -> None:
        """Record the intent to make a change."""
        atomic_io.write_file(self._intent, entry.model_dump_json().encode())

    def finish(self, entry: HistoryEntry) -> None:
        """Add the change to the history and remove its intent; idempotent."""
        content = self._content()
        if content and not content.endswith(b"\n"):
            self.repair()
        if self.last() != entry:
            atomic_io.append_line(self._history, entry.model_dump_json().encode())
        self.drop()

    def drop(self) -> None:
        """Remove the intent."""
        self._intent.unlink(missing_ok=True)

    def _read(self) -> tuple[list[bytes], bool]:
        """Return the complete lines, and whether an incomplete one follows.

        The file is read once, since a writer may be appending to it.
        """
        content = self._content()
        lines = [line for line in content.split(b"\n") if line.strip()]
        torn = bool(lines) and not content.endswith(b"\n") and not _is_entry(lines[-1])
        return (lines[:-1] if torn else lines), torn

    def _content(self) -> bytes:
        try:
            return atomic_io.read_file(self._history)
        except FileNotFoundError:
            return b""


def _is_entry(line: bytes) -> bool:
    """Return whether a line is complete; a prefix of an entry is not valid JSON."""
    try:
        HistoryEntry.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _parse(path: Path, line: bytes) -> HistoryEntry:
    try:
        return HistoryEntry.model_validate_json(line)
    except ValidationError as error:
        raise InvalidMetadataError(
            str(path), f"not a history entry: {line[:80]!r}; restore it from a backup"
        ) from error


def rollback_target(entries: Sequence[HistoryEntry]) -> str | None:
    """Return the version in production before the current one, None if none is left.

    Each rollback goes one version further back, never forward. Versions that have been deleted or
    retired since are skipped.
    """
    stack: list[str] = []
    gone: set[str] = set()
    for entry in entries:
        match entry.action:
            case Action.PROMOTED:
                stack.append(entry.version)
                gone.discard(entry.version)
            case Action.ROLLED_BACK:
                while stack and stack[-1] != entry.version:
                    stack.pop()
            case Action.RETIRED | Action.DELETED:
                gone.add(entry.version)
            case Action.STAGED | Action.UNSTAGED:
                gone.discard(entry.version)
            case _:
                pass
    return next((version for version in reversed(stack) if version not in {*gone, stack[-1]}), None)


def recorded_holders(entries: Sequence[HistoryEntry]) -> Mapping[ModelStage, str]:
    """Return the version in each stage by the history; stages without a version are left out."""
    holders: dict[ModelStage, str] = {}
    for entry in entries:
        match entry.action:
            case Action.PROMOTED | Action.ROLLED_BACK:
                holders[ModelStage.PRODUCTION] = entry.version
            case Action.STAGED:
                holders[ModelStage.STAGING] = entry.version
                continue
            case Action.UNSTAGED | Action.RETIRED | Action.DELETED:
                pass
            case _:
                continue
        if holders.get(ModelStage.STAGING) == entry.version:
            del holders[ModelStage.STAGING]
    return holders


def production_at(entries: Sequence[HistoryEntry], time: datetime) -> str | None:
    """Return the version in production at `time`, None before the first promotion."""
    return next(
        (
            entry.version
            for entry in reversed(entries)
            if entry.time <= time and entry.action in (Action.PROMOTED, Action.ROLLED_BACK)
        ),
        None,
    )
