"""Finds and ends every process of one launch.

Ray's processes become orphans and HAProxy outlives `ray stop`, so neither parents nor process
groups identify a launch. Its session does, and a variable in the environment, which every child
inherits: a process may leave the session, and Ray's agents overwrite their environment.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

MARKER = "TRADESERVE_LAUNCH"
POLL_S = 0.1
ORPHAN_GRACE_S = 1.0
"""The time allowed for Ray's processes to end by themselves once their head has ended."""
TERMINATE_GRACE_S = 1.0
KILL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """All living processes in a session, or whose variable `MARKER` has the value `launch`."""

    launch: str
    session: int | None = None
    """The session that the first process leads, which is its process id."""

    def members(self) -> list[psutil.Process]:
        """Return the living processes; zombies count as dead."""
        return [
            process
            for process in psutil.process_iter()
            if is_in_session(process, self.session) or launched_by(process) == self.launch
        ]

    def end(self, hurry: Callable[[], bool]) -> list[psutil.Process]:
        """Wait for every member to end, then send SIGTERM, then SIGKILL; return the survivors.

        Args:
            hurry: returns whether to skip the waits; called repeatedly.
        """
        if self._wait(ORPHAN_GRACE_S, hurry):
            return []
        self._signal(signal.SIGTERM)
        if self._wait(TERMINATE_GRACE_S, hurry):
            return []
        deadline_s = time.monotonic() + KILL_TIMEOUT_S
        # Repeatedly, since a process may have started another just before it was killed.
        while self.members() and time.monotonic() < deadline_s:
            self._signal(signal.SIGKILL)
            time.sleep(POLL_S)
        return self.members()

    def _wait(self, timeout_s: float, hurry: Callable[[], bool]) -> bool:
        """Wait until all have ended, `timeout_s` or `hurry()`; return whether all have ended."""
        deadline_s = time.monotonic() + timeout_s
        while self.members():
            if hurry() or time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True

    def _signal(self, number: signal.Signals) -> None:
        for member in self.members():
            try:
                member.send_signal(number)
            except psutil.NoSuchProcess:
                continue  # it ended by itself


def is_in_session(process: psutil.Process, session: int | None) -> bool:
    """Return whether a process is alive and belongs to a session; zombies count as dead."""
    try:
        return (
            process.pid != os.getpid()
            and os.getsid(process.pid) == session
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.NoSuchProcess, OSError):
        return False


def launched_by(process: psutil.Process) -> str | None:
    """Return the launch of a process; None if it has none or is dead."""
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get(MARKER)
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
