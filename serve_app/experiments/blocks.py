"""Blocks of time: the period of one summary, and the unit of analysis of the statistics.

A block begins at a whole number of base lengths after the origin. Its length is the experiment's
age at its beginning over BLOCKS_PER_DOUBLING, rounded down to a power of two base lengths. A minute
and a month thus both consist of some hundred blocks, a block's key depends on the time alone, and
adjacent blocks merge into blocks of equal length.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.summary import PairSummary, VariantSummary
from serve_app.experiments.units import UnitTotals

BLOCKS_PER_DOUBLING = 128
SHORTEST_BLOCK_S = 0.125
"""Short enough that a burst of a few seconds spans enough blocks for a test."""


@dataclass(frozen=True, slots=True)
class BlockClock:
    """Maps a time to its block."""

    origin_s: float
    """The beginning of block 0, in seconds since 1970."""
    base_s: float
    """The length of the shortest block."""

    @classmethod
    def of(cls, definition: ExperimentDefinition, started_at: datetime) -> "BlockClock":
        """Return the clock of an experiment; a switchback's base length is its own block."""
        base_s = definition.switchback_block_s or SHORTEST_BLOCK_S
        return cls(math.floor(started_at.timestamp() / base_s) * base_s, base_s)

    def block(self, time: datetime) -> int:
        """Return the key of the block that holds `time`; earlier times belong to the first block.

        The key is the block's beginning, in base lengths after the origin.
        """
        age = max(0, math.floor((time.timestamp() - self.origin_s) / self.base_s))
        return age - age % length(age)

    def start_s(self, block: int) -> float:
        """Return the beginning of a block, in seconds since 1970."""
        return self.origin_s + block * self.base_s

    def end_s(self, block: int) -> float:
        """Return the end of a block, in seconds since 1970."""
        return self.start_s(block) + length(block) * self.base_s


def length(age: int) -> int:
    """Return the length, in base lengths, of the block at `age` base lengths after the origin."""
    return 1 << max(0, (age // BLOCKS_PER_DOUBLING).bit_length() - 1)


@dataclass(slots=True, kw_only=True)
class Block:
    """The summaries of both variants for one block of time."""

    block: int
    """The block's key, see `BlockClock.block`."""
    control: VariantSummary = field(default_factory=VariantSummary)
    treatment: VariantSummary = field(default_factory=VariantSummary)
    pairs: PairSummary = field(default_factory=PairSummary)
    """The summary of the pairs; empty unless the experiment mirrors requests."""
    units: UnitTotals | None = None
    """All units of the experiment, not only those of this block, as of the time when it was the
    latest block. None unless bots or symbols are assigned."""


def common_length(blocks: Iterable[int], at_least: float) -> int:
    """Return a common length, in base lengths, into which all blocks fit without being cut.

    Args:
        blocks: the blocks' keys.
        at_least: the minimum length, in base lengths.
    """
    longest = max((length(block) for block in blocks), default=1)
    return max(longest, 1 << max(0, math.ceil(math.log2(max(at_least, 1.0)))))
