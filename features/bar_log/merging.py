"""Which parts of the history to merge, and into which slices of time: pure functions."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from features.bar_log.manifest import PartEntry
from features.bars import Ints


def find_overlapping(parts: Sequence[PartEntry], limit: int) -> list[PartEntry]:
    """Return the first group of parts in which more than `limit` share a time, or nothing.

    A group is closed: its parts overlap no other ones.

    Args:
        parts: the parts of one series, by their first time.
        limit: the number of parts that may have bars of one time.
    """
    group: list[PartEntry] = []
    ends: list[int] = []
    overlaps = False
    end = 0
    for part in parts:
        if group and part.first_time > end:
            if overlaps:
                return group
            group, ends = [], []
        while ends and ends[0] < part.first_time:
            heapq.heappop(ends)
        heapq.heappush(ends, part.last_time)
        end = max(end, part.last_time) if group else part.last_time
        group.append(part)
        overlaps = overlaps or len(ends) > limit
    return group if overlaps else []


def cut_slices(starts: Ints, per_slice: int, last_ms: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last time of slices that together cover all times up to the last.

    Args:
        starts: the first times of the row groups, in any order.
        per_slice: the number of row groups that begin in a slice.
        last_ms: the last time.
    """
    edges = np.unique(np.sort(starts)[::per_slice]).tolist()
    for first_ms, following_ms in pairwise([*edges, last_ms + 1]):
        yield first_ms, following_ms - 1
