"""Decides when replicas that no router uses any more have drained and may stop."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from serve_app.state.serving import LaunchId
from serve_app.timeouts import DRAIN_LIMIT_S, DRAIN_S


@dataclass(frozen=True, slots=True)
class Drain:
    """The start of a drain."""

    began_s: float
    revision: int
    """A state that no longer has the version; routers that follow it have released the replicas."""


class Draining:
    """Records which replicas are draining, and since when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._drains: dict[LaunchId, Drain] = {}

    def drained(self, unwanted: Collection[LaunchId], revision: int, oldest: int) -> list[LaunchId]:
        """Return which of the unwanted replicas may stop now.

        Args:
            unwanted: the replicas that receive no further requests; new ones start to drain.
            revision: revision of the current state.
            oldest: the oldest revision that a router reports; 0 if unknown.
        """
        now_s = self._clock()
        self._drains = {
            launch_id: self._drains.get(launch_id, Drain(now_s, revision)) for launch_id in unwanted
        }
        return [
            launch_id
            for launch_id, drain in self._drains.items()
            if is_drained(drain, now_s, oldest)
        ]


def is_drained(drain: Drain, now_s: float, oldest: int) -> bool:
    """Return whether replicas may stop: their requests had time to finish, or the limit has
    passed."""
    waited_s = now_s - drain.began_s
    let_go = oldest >= drain.revision and waited_s >= DRAIN_S
    return let_go or waited_s >= DRAIN_LIMIT_S
