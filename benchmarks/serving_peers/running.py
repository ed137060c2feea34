"""A server that runs: where it is, what it costs, and how it is held still meanwhile.

All servers are up throughout, and all but the measured one are stopped (SIGSTOP): a cluster of Ray
does a fifth of a core's work when nobody asks anything, which would count against its peers, and
to start each server anew in each round would take most of the time.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Running:
    """One server with all its processes."""

    url: str
    processes: Callable[[], Sequence[psutil.Process]]
    """Returns those that live now."""

    def pause(self) -> None:
        """Stop every process, also those that others are just starting."""
        stopped: set[int] = set()
        while new := [process for process in self.processes() if process.pid not in stopped]:
            for process in new:
                _send(process, signal.SIGSTOP)
                stopped.add(process.pid)

    def resume(self) -> None:
        """Let every process go on."""
        for process in self.processes():
            _send(process, signal.SIGCONT)

    def cpu_s(self) -> float:
        """Return the processor time that its living processes have used, in seconds."""
        total_s = 0.0
        for process in self.processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue  # it ended by itself
            total_s += times.user + times.system
        return total_s


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # it ended by itself
