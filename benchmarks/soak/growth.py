"""The growth of each process over a soak, from samples."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.soak.stack import Usage

GOAL_PERCENT = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server uses at one time after the start of the load."""

    elapsed_s: float
    usage: Mapping[str, Usage]
    """By role."""
    disk_mb: Mapping[str, float]
    """Sizes of files by their purpose."""


@dataclass(frozen=True, slots=True)
class Growth:
    """One role in the first and in the last of the compared periods; medians over the samples."""

    processes: float
    """In the last period."""
    before_mb: float
    after_mb: float
    """The memory that the processes have allocated. Pages of files are left out: the system drops
    and shares them depending on what else runs on the machine."""
    pss_mb: float
    """All of the memory in the last period."""
    descriptors_before: float
    descriptors_after: float
    cpu_percent: float
    """Processor time per time between the first and the last sample, of one core."""

    @property
    def percent(self) -> float:
        """The growth of the allocated memory."""
        return 100 * (self.after_mb / self.before_mb - 1) if self.before_mb else 0.0


def growth(samples: Sequence[Sample], period_s: float) -> dict[str, Growth]:
    """Return the growth of each role that both periods contain.

    The first period begins after as long a warm-up; the last one ends with the samples.
    """
    end_s = samples[-1].elapsed_s
    first = [one for one in samples if period_s <= one.elapsed_s < 2 * period_s]
    last = [one for one in samples if one.elapsed_s > end_s - period_s]
    return {role: _growth(role, first, last) for role in sorted(_roles(first) & _roles(last))}


def _roles(samples: Sequence[Sample]) -> set[str]:
    return {role for sample in samples for role in sample.usage}


def _growth(role: str, first: Sequence[Sample], last: Sequence[Sample]) -> Growth:
    before = [sample.usage[role] for sample in first if role in sample.usage]
    after = [sample.usage[role] for sample in last if role in sample.usage]
    began = next(sample for sample in first if role in sample.usage)
    ended = next(sample for sample in reversed(last) if role in sample.usage)
    used_s = ended.usage[role].cpu_s - began.usage[role].cpu_s
    return Growth(
        processes=statistics.median(usage.processes for usage in after),
        before_mb=statistics.median(usage.own_mb for usage in before),
        after_mb=statistics.median(usage.own_mb for usage in after),
        pss_mb=statistics.median(usage.pss_mb for usage in after),
        descriptors_before=statistics.median(usage.descriptors for usage in before),
        descriptors_after=statistics.median(usage.descriptors for usage in after),
        cpu_percent=100 * used_s / (ended.elapsed_s - began.elapsed_s),
    )
