"""The operator's terminal: its signals, and the lines that it shows."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType


class StopRequests:
    """Counts Ctrl-C, SIGTERM and SIGHUP, which then interrupt nothing."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def any(self) -> bool:
        """Whether a stop was requested."""
        return self.count > 0

    @property
    def hurry(self) -> bool:
        """Whether a stop was requested again, so that it must not wait."""
        return self.count > 1

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count the signals while the context is open."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def print_line(line: str) -> None:
    """Print a line for the operator; a closed terminal does not stop the server."""
    try:
        print(line, flush=True)  # noqa: T201 - this is the command's output
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process


def print_event(line: str) -> None:
    """Print an event of the running server with its local time."""
    print_line(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {line}")
