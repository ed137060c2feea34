"""A running server: its address, its processor time, and how it is suspended.

All servers stay up, and all but the measured one are suspended (SIGSTOP): an idle Ray cluster uses
a fifth of a core, which would count against its peers, and restarting each server in each round
would take most of the time.
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
    """A function that returns its living processes."""

    def pause(self) -> None:
        """Suspend every process, including those that are just being started."""
        stopped: set[int] = set()
        while new := [process for process in self.processes() if process.pid not in stopped]:
            for process in new:
                _send(process, signal.SIGSTOP)
                stopped.add(process.pid)

    def resume(self) -> None:
        """Resume every process."""
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
