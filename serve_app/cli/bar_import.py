"""Imports a file of bars into a bar log, directly or through the server that has it open."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.bar_log import BarLog
from features.bar_log.bar_files import Block, read_blocks
from features.bar_log.importing import KEPT_REJECTIONS, Imported, import_file
from features.bar_log.streams import write_push
from features.bars import Rejections, Symbol
from features.timeframes import Timeframe
from serve_app.client import ModelClient
from serve_app.errors import UnexpectedResponseError

ROWS_PER_BODY = 100_000
"""Rows of one request, 5.6 MB; the limit of a body is `router.max_body_bytes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an import has committed so far."""

    rows: int
    accepted: int
    duplicates: int
    revised: int
    rejected: int
    reasons: tuple[tuple[int, str], ...]
    """The first rejected rows with their reasons, by their position in the file from 0."""
    share: float
    """The share of the file that has been read."""


Progress = Callable[[Report], None]


def import_directly(
    log: BarLog,
    path: Path,
    symbol: Symbol,
    timeframe: Timeframe,
    zone: str | None,
    progress: Progress,
) -> Report:
    """Append the bars of a file to a log; see `import_file` for the errors."""
    imported = import_file(
        log,
        path,
        symbol,
        timeframe,
        time.time_ns() // 1_000_000,
        zone=zone,
        progress=lambda done: progress(_report_of(done)),
    )
    return _report_of(imported)


async def import_through_server(
    client: ModelClient,
    path: Path,
    symbol: Symbol,
    timeframe: Timeframe,
    zone: str | None,
    progress: Progress,
) -> Report:
    """Push the bars of a file to a server, in parts that are committed one after the other.

    Raises:
        BarFileError: the file cannot be read; the parts before are committed.
        ClientError: a part was not acknowledged; those before are committed.
    """
    done = Report(rows=0, accepted=0, duplicates=0, revised=0, rejected=0, reasons=(), share=0.0)
    for block in read_blocks(path, zone):
        for part in _parts(block):
            sent = np.flatnonzero(part.problems == 0)
            known_at = None if part.known_at is None else part.known_at[sent]
            content = write_push(part.bars.take(sent), known_at)
            response = await client.push_stream(content, symbol, timeframe.name)
            if response is None:
                raise UnexpectedResponseError(client.server_url, "expected a report")
            found = [(index, reason.value) for index, reason in Rejections.of(part.problems)]
            found += [
                (int(sent[entry["index"]]), entry["reason"]) for entry in response["rejected"]
            ]
            unlisted = response.get("rejected_total", len(response["rejected"]))
            reasons = *done.reasons, *((done.rows + row, why) for row, why in sorted(found))
            done = Report(
                rows=done.rows + len(part.bars),
                accepted=done.accepted + response["accepted"],
                duplicates=done.duplicates + response["duplicates"],
                revised=done.revised + response["revised"],
                rejected=done.rejected + len(part.bars) - len(sent) + unlisted,
                reasons=reasons[:KEPT_REJECTIONS],
                share=block.share,
            )
            progress(done)
    return done


def _parts(block: Block) -> Iterator[Block]:
    for start in range(0, len(block.bars), ROWS_PER_BODY):
        rows = slice(start, start + ROWS_PER_BODY)
        known_at = None if block.known_at is None else block.known_at[rows]
        yield Block(block.bars.take(rows), block.problems[rows], known_at, block.share)


def _report_of(done: Imported) -> Report:
    return Report(
        rows=done.rows,
        accepted=done.accepted,
        duplicates=done.duplicates,
        revised=done.revised,
        rejected=done.rejected,
        reasons=tuple((index, reason.value) for index, reason in done.rejections),
        share=done.share,
    )
