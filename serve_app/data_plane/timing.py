"""The timing sections of a request, measured one after the other."""

import time
from collections.abc import Callable
from enum import StrEnum

from serve_app.data_plane.decoding import Run


class TimingSection(StrEnum):
    """A part of the time that a router spends on a request, in this order."""

    READ = "read"
    """The body arrives."""
    PARSE = "parse"
    """The front end turns the body into checked fields."""
    ROUTE = "route"
    """The router selects the version and checks the window's shape and numbers."""
    QUEUE = "queue"
    """The round trip to the model: the hop, a replica's queue, an experiment's records."""
    BATCH_WAIT = "batch_wait"
    """In the model's process, the request waits for its batch to fill and for the previous run."""
    MODEL = "model"
    """The model runs the batch, and its outputs are decoded."""
    SERIALISE = "serialise"
    """The front end turns the response into bytes."""


class Stopwatch:
    """Measures the timing sections of one request, in seconds."""

    __slots__ = ("_clock", "_lap_s", "spent")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lap_s = clock()
        self.spent: dict[TimingSection, float] = {}

    def lap(self, section: TimingSection) -> None:
        """Assign the time since the previous lap to `section`."""
        now_s = self._clock()
        self.spent[section] = now_s - self._lap_s
        self._lap_s = now_s

    def add(self, section: TimingSection, time_s: float) -> None:
        """Add time that passed before this stopwatch began to a section."""
        self.spent[section] = self.spent.get(section, 0.0) + time_s

    def lap_of_run(self, run: Run | None) -> None:
        """Assign the time since the previous lap to a model's run and the round trip to it.

        Without a run, all of it counts as the round trip.
        """
        self.lap(TimingSection.QUEUE)
        if run is not None:
            self.spent[TimingSection.QUEUE] -= run.waited_s + run.took_s
            self.spent[TimingSection.BATCH_WAIT] = run.waited_s
            self.spent[TimingSection.MODEL] = run.took_s

    def since_read_ms(self) -> float:
        """Return the server-side time in milliseconds: since the body was read."""
        inside_s = sum(self.spent.values()) - self.spent.get(TimingSection.READ, 0.0)
        return (inside_s + self._clock() - self._lap_s) * 1e3
