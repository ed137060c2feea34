"""The report on a push: pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.bars import Ints
from features.pushes import Appended, Push

if TYPE_CHECKING:
    from features.bar_log.streams import InvalidRows  # routers need no Arrow

MAX_LISTED = 1000
"""The most rejected bars that a report lists; all are counted."""


@dataclass(frozen=True, slots=True)
class RejectedBar:
    """A bar that was not stored."""

    push: int
    """The position of its push in the request."""
    index: int
    """The position of the bar in its push, or in the stream."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What became of the bars of a request; it is committed."""

    accepted: int = 0
    duplicates: int = 0
    revised: int = 0
    rejected: Sequence[RejectedBar] = ()
    """The first MAX_LISTED rejected bars."""
    rejected_total: int = 0
    newest: Sequence[tuple[str, str, int]] = ()
    """The newest bar that each push has stored: its symbol, its timeframe and its opening."""


def newest_of(pushes: Sequence[Push], appended: Sequence[Appended]) -> list[tuple[str, str, int]]:
    """Return the newest bar that each push has stored, new or revised."""
    return [
        (push.symbol, push.timeframe.name, int(result.stored.time[-1]))
        for push, result in zip(pushes, appended, strict=True)
        if len(result.stored)
    ]


def report_of(
    appended: Sequence[Appended],
    rows: Sequence[Ints | None],
    invalid: "Sequence[InvalidRows]" = (),
) -> PushReport:
    """Return the report on several pushes.

    Args:
        appended: the result of each push.
        rows: the positions of each push's bars in the stream that had them; None for a push that
            was sent by itself.
        invalid: rows of the stream that belong to no push.
    """
    rejected: list[RejectedBar] = []

    def all_rejected() -> Iterator[RejectedBar]:
        for number, (result, positions) in enumerate(zip(appended, rows, strict=True)):
            for index, reason in result.rejected:
                position = index if positions is None else int(positions[index])
                yield RejectedBar(0 if positions is not None else number, position, reason.value)
        for group in invalid:
            for row in group.rows.tolist():
                yield RejectedBar(0, row, group.reason)

    for bar in all_rejected():
        if len(rejected) == MAX_LISTED:
            break
        rejected.append(bar)
    total = sum(len(result.rejected) for result in appended)
    return PushReport(
        accepted=sum(result.accepted for result in appended),
        duplicates=sum(result.duplicates for result in appended),
        revised=sum(result.revised for result in appended),
        rejected=sorted(rejected, key=lambda bar: (bar.push, bar.index)),
        rejected_total=total + sum(len(group.rows) for group in invalid),
    )
