"""A model's history and the change under way: who did what, even when the writer dies doing it.

A change is written down as an intent, then committed by one rename, then added to the history. A
writer that dies leaves at most its intent; whoever comes next sees from the folder whether the
commit happened, and adds the line or drops the intent.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from registry.errors import InvalidMetadataError
from registry.folder import atomic_io
from registry.records import Action, HistoryEntry


class Journal:
    """The history file of one model and its intent."""

    def __init__(self, history: Path, intent: Path) -> None:
        self._history, self._intent = history, intent

    def entries(self) -> list[HistoryEntry]:
        """Return the history's lines, oldest first, without a torn last one."""
        return [_parse(self._history, line) for line in self._read()[0]]

    def last(self) -> HistoryEntry | None:
        """Return the newest entry, None when there is none."""
        lines, _ = self._read()
        return _parse(self._history, lines[-1]) if lines else None

    def intent(self) -> HistoryEntry | None:
        """Return the change under way, None when there is none."""
        try:
            return _parse(self._intent, atomic_io.read_file(self._intent))
        except FileNotFoundError:
            return None

    def torn(self) -> bool:
        """Return whether the last line was interrupted while it was written."""
        return self._read()[1]

    def mend(self) -> None:
        """Remove a last line that was interrupted, and end a whole one that lost its line break."""
        lines, _ = self._read()
        atomic_io.write_file(self._history, b"".join(line + b"\n" for line in lines))

    def begin(self, entry: HistoryEntry) -> None:
        """Write down what is going to happen."""
        atomic_io.write_file(self._intent, entry.model_dump_json().encode())

    def finish(self, entry: HistoryEntry) -> None:
        """Add what happened to the history; once, however often it is called."""
        content = self._content()
        if content and not content.endswith(b"\n"):
            self.mend()
        if self.last() != entry:
            atomic_io.append_line(self._history, entry.model_dump_json().encode())
        self.drop()

    def drop(self) -> None:
        """Forget the change under way."""
        self._intent.unlink(missing_ok=True)

    def _read(self) -> tuple[list[bytes], bool]:
        """Return the lines that are entries or claim to be, and whether one more is torn.

        From one look at the file: a writer may be adding to it.
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
    """Tell whether a line is whole; no part of one is JSON."""
    try:
        HistoryEntry.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _parse(path: Path, line: bytes) -> HistoryEntry:
    try:
        return HistoryEntry.model_validate_json(line)
    except ValidationError as error:
        raise InvalidMetadataError(str(path), f"no history entry: {line[:80]!r}") from error


def rollback_target(entries: Sequence[HistoryEntry]) -> str | None:
    """Return the version that was in production before the present one, None when none is left.

    Rolling back twice goes back twice, never forth again. Versions that were deleted or retired
    since are passed over.
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
    return next((each for each in reversed(stack) if each not in {*gone, stack[-1]}), None)


def production_at(entries: Sequence[HistoryEntry], time: datetime) -> str | None:
    """Return the version that was in production at `time`, None when none was yet."""
    return next(
        (
            entry.version
            for entry in reversed(entries)
            if entry.time <= time and entry.action in (Action.PROMOTED, Action.ROLLED_BACK)
        ),
        None,
    )
