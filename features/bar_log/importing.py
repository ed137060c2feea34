"""Imports files of bars into the log, in bounded memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.bar_log.bar_files import Block, read_blocks
from features.bar_log.log import BarLog
from features.bars import Rejections, Symbol
from features.pushes import Push
from features.timeframes import Timeframe

KEPT_REJECTIONS = 1000
"""The number of rejected rows whose reasons are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """What an import has committed so far."""

    rows: int
    """The number of rows read."""
    accepted: int
    duplicates: int
    revised: int
    rejected: int
    rejections: Rejections
    """The first rejected rows, by their position in the file."""
    share: float
    """The share of the file that has been read."""


def import_file(
    log: BarLog,
    path: Path,
    symbol: Symbol,
    timeframe: Timeframe,
    now_ms: int,
    *,
    zone: str | None = None,
    progress: Callable[[Imported], None] = lambda _: None,
) -> Imported:
    """Append the bars of a CSV or Parquet file, block by block.

    Each block is committed before the next one, so that an import that was interrupted can be
    repeated: the bars that it committed are duplicates.

    Args:
        log: the log.
        path: the file; see `read_blocks`.
        symbol: the symbol of all bars of the file.
        timeframe: the timeframe of all bars of the file.
        now_ms: the time now, at which the bars become known unless the file states another.
        zone: the time zone of times that have none.
        progress: called after each block.

    Raises:
        BarFileError: the file cannot be read; the blocks before are committed.
        UnavailableBarLogError: the storage failed; the blocks before are committed.
    """
    done = Imported(0, 0, 0, 0, 0, Rejections.of(np.zeros(0, np.uint8)), 0.0)
    for block in _read_ahead(read_blocks(path, zone)):
        push = Push(symbol, timeframe, block.bars, problems=block.problems, known_at=block.known_at)
        (appended,) = log.append_all([push], now_ms)
        rejected = appended.rejected
        kept = KEPT_REJECTIONS - len(done.rejections)
        done = Imported(
            done.rows + len(block.bars),
            done.accepted + appended.accepted,
            done.duplicates + appended.duplicates,
            done.revised + appended.revised,
            done.rejected + len(rejected),
            Rejections(
                np.concatenate([done.rejections.index, rejected.index[:kept] + done.rows]),
                np.concatenate([done.rejections.code, rejected.code[:kept]]),
            ),
            block.share,
        )
        log.compact()
        progress(done)
    return done


def _read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield the blocks; read the next one while the caller uses one."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = reader.submit(next, blocks, None)
            yield block
