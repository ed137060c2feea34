"""The limits of a trial run, enforced by the kernel even while native code runs."""

import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATM = Path("/proc/self/statm")
_DATA_PAGES = 5
"""The field of _STATM that counts the pages of private, writable memory."""

_ALLOCATION = re.compile(
    r"bad[_ ]alloc|failed to allocate|can(no|'?)t allocate|not enough memory", re.IGNORECASE
)
"""How ONNX Runtime and PyTorch report that memory could not be allocated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLimits:
    """The time and the memory that an artifact may use while it is loaded and run."""

    step_cpu_s: float = 3.0
    """Processor time for loading, and for each run. A busy machine does not shorten it."""
    total_s: float = 6.0
    """Elapsed time for loading and all runs."""
    comparison_s: float = 30.0
    """Elapsed time in addition to `total_s` for a version with windows of its own."""
    memory_bytes: int = 2_000_000_000
    """Memory in addition to that of the libraries and of the file's content."""

    def total_with(self, recorded: bytes | None) -> float:
        """Return the elapsed time for an artifact of a version with these windows of its own."""
        return self.total_s if recorded is None else self.total_s + self.comparison_s


@contextmanager
def limited(
    step_cpu_s: float, total_s: float | None, memory_bytes: int
) -> Iterator[Callable[[], None]]:
    """Limit this process; yield a function that starts a step, which has its own processor time.

    At the end of the processor time the kernel ends the process with SIGPROF, at the end of the
    elapsed time (None: unlimited) with SIGALRM. Memory beyond the limit cannot be allocated, which
    libraries report as an error. On systems without /proc the memory is not limited.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if _STATM.exists():
        present = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        reduced = min(_data_bytes() + memory_bytes, *present, sys.maxsize)
        resource.setrlimit(resource.RLIMIT_DATA, (reduced, hard))
    signal.setitimer(signal.ITIMER_REAL, total_s or 0.0)

    def start_step() -> None:
        signal.setitimer(signal.ITIMER_PROF, step_cpu_s)

    try:
        yield start_step
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, reports that an allocation failed.

    The libraries raise general classes such as RuntimeError, so their message decides.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or _ALLOCATION.search(str(cause)):
            return True
        cause = cause.__cause__
    return False


def _data_bytes() -> int:
    return int(_STATM.read_text().split()[_DATA_PAGES]) * resource.getpagesize()
