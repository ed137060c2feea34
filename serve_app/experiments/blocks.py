"""Blocks of time: what a summary covers, and what the statistics take as their unit.

A block begins at a whole number of base lengths after the origin. It is as long as the experiment
was old at its beginning, divided by BLOCKS_PER_DOUBLING, rounded down to a power of two base
lengths. So a minute and a month both fall into some hundred blocks, a block's key follows from the
time alone, and adjacent blocks merge into equally long ones.
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
"""So short that a burst of a few seconds already falls into blocks enough for a test."""


@dataclass(frozen=True, slots=True)
class BlockClock:
    """Which block a time falls into."""

    origin_s: float
    """Beginning of block 0, in seconds since 1970."""
    base_s: float
    """Length of the shortest block."""

    @classmethod
    def of(cls, definition: ExperimentDefinition, started_at: datetime) -> "BlockClock":
        """Return the clock of an experiment; a switchback's blocks are whole ones of its own."""
        base_s = definition.switchback_block_s or SHORTEST_BLOCK_S
        return cls(math.floor(started_at.timestamp() / base_s) * base_s, base_s)

    def block(self, time: datetime) -> int:
        """Return the key of the block that holds `time`; what is earlier counts to the first.

        The key is the block's beginning, in base lengths after the origin.
        """
        age = max(0, math.floor((time.timestamp() - self.origin_s) / self.base_s))
        return age - age % length(age)

    def start_s(self, block: int) -> float:
        """Return when a block begins, in seconds since 1970."""
        return self.origin_s + block * self.base_s

    def end_s(self, block: int) -> float:
        """Return when a block ends, in seconds since 1970."""
        return self.start_s(block) + length(block) * self.base_s


def length(age: int) -> int:
    """Return how many base lengths a block has that holds the time `age` base lengths on."""
    return 1 << max(0, (age // BLOCKS_PER_DOUBLING).bit_length() - 1)


@dataclass(slots=True, kw_only=True)
class Block:
    """Both variants during one block of time."""

    block: int
    """Its key, see `BlockClock.block`."""
    control: VariantSummary = field(default_factory=VariantSummary)
    treatment: VariantSummary = field(default_factory=VariantSummary)
    pairs: PairSummary = field(default_factory=PairSummary)
    """Empty unless the experiment mirrors."""
    units: UnitTotals | None = None
    """All units of the experiment, not of this block: as they were known while it was the newest.
    None unless bots or symbols are assigned."""


def common_length(blocks: Iterable[int], at_least: float) -> int:
    """Return a length that all blocks fit into as a whole, in base lengths.

    Args:
        blocks: keys.
        at_least: the least length, in base lengths.
    """
    longest = max((length(each) for each in blocks), default=1)
    return max(longest, 1 << max(0, math.ceil(math.log2(max(at_least, 1.0)))))
