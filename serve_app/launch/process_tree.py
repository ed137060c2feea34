"""Finds and ends every process of one launch.

Ray's processes become orphans and HAProxy outlives `ray stop`, so parents and groups do not tell
who belongs together. A variable in the environment does: every child inherits it.
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
"""How long Ray's processes may take to end by themselves once their head has ended."""
TERMINATE_GRACE_S = 1.0
KILL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """All living processes that carry `MARKER` with this value."""

    launch: str

    def members(self) -> list[psutil.Process]:
        """Return them; those that only wait to be collected by their parent are dead."""
        return [each for each in psutil.process_iter() if launched_by(each) == self.launch]

    def end(self, hurry: Callable[[], bool]) -> list[psutil.Process]:
        """Let every member end, ask it to, then make it; return those that still live.

        Args:
            hurry: whether to stop waiting, asked again and again.
        """
        if self._wait(ORPHAN_GRACE_S, hurry):
            return []
        self._signal(signal.SIGTERM)
        if self._wait(TERMINATE_GRACE_S, hurry):
            return []
        deadline_s = time.monotonic() + KILL_TIMEOUT_S
        # Again and again: what is killed may just have started another.
        while self.members() and time.monotonic() < deadline_s:
            self._signal(signal.SIGKILL)
            time.sleep(POLL_S)
        return self.members()

    def _wait(self, timeout_s: float, hurry: Callable[[], bool]) -> bool:
        """Wait until all are gone, `timeout_s` passed or `hurry()`; return whether all are gone."""
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


def launched_by(process: psutil.Process) -> str | None:
    """Return the launch that the process belongs to; None when to none, or when it is dead."""
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get(MARKER)
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
