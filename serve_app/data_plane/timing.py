"""Where the time of a request goes: its stages, measured one after the other."""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from serve_app.data_plane.decoding import Run


class Stage(StrEnum):
    """What a router spends a request's time on, in this order."""

    READ = "read"
    """The body comes in."""
    PARSE = "parse"
    """From the body to checked fields."""
    ROUTE = "route"
    """Which version answers; its window's shape and numbers are checked."""
    QUEUE = "queue"
    """The way to the model and back: the hop, a replica's queue, an experiment's book-keeping."""
    BATCH_WAIT = "batch_wait"
    """In the model's process, for batch-mates and for the run before."""
    MODEL = "model"
    """The run of the batch, and what its outputs mean."""
    SERIALISE = "serialise"
    """From the answer to its bytes."""


class Stopwatch:
    """Measures the stages of one request, in seconds."""

    __slots__ = ("_clock", "_lap_s", "spent")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lap_s = clock()
        self.spent: dict[Stage, float] = {}

    def lap(self, stage: Stage) -> None:
        """Count what went by since the lap before as `stage`."""
        now_s = self._clock()
        self.spent[stage] = now_s - self._lap_s
        self._lap_s = now_s

    def lap_of_run(self, run: Run | None) -> None:
        """Count it as a model's run and the way there; all as the way where there was no run."""
        self.lap(Stage.QUEUE)
        if run is not None:
            self.spent[Stage.QUEUE] -= run.waited_s + run.took_s
            self.spent[Stage.BATCH_WAIT] = run.waited_s
            self.spent[Stage.MODEL] = run.took_s

    def since_read_ms(self) -> float:
        """Return the time since the body was there: the server's own part."""
        inside_s = sum(self.spent.values()) - self.spent.get(Stage.READ, 0.0)
        return (inside_s + self._clock() - self._lap_s) * 1e3


def in_ms(spent: Mapping[Stage, float]) -> dict[str, float]:
    """Return the stages for an answer: `{"read_ms": 0.1, …}`."""
    return {f"{stage}_ms": took_s * 1e3 for stage, took_s in spent.items()}
