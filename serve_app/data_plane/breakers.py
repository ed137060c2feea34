"""The circuit breakers of one router, one per experiment."""

import logging
import time
from collections.abc import Callable, Collection

from serve_app.experiments.circuit_breaker import (
    Admission,
    Breaker,
    BreakerMode,
    BreakerSettings,
    admit,
    on_failure,
    on_success,
)

logger = logging.getLogger(__name__)


class Breakers:
    """Keeps the state of each experiment's circuit breaker in this router.

    Args:
        settings: apply to every breaker.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, settings: BreakerSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}

    def keep(self, experiments: Collection[str]) -> None:
        """Discard the breakers of all experiments except these, which are running."""
        self._breakers = {
            experiment: breaker
            for experiment, breaker in self._breakers.items()
            if experiment in experiments
        }

    def admit(self, experiment: str) -> Admission:
        """Return how a request that is assigned to treatment is admitted."""
        admission, after = admit(self._breaker(experiment), self._clock(), self._settings)
        self._breakers[experiment] = after
        return admission

    def record(self, experiment: str, *, succeeded: bool) -> None:
        """Record whether treatment responded to a request that it received."""
        before = self._breaker(experiment)
        step = on_success if succeeded else on_failure
        after = step(before, self._clock(), self._settings)
        if after.mode is not before.mode:
            logger.warning("%s: treatment's circuit breaker is %s", experiment, after.mode)
        self._breakers[experiment] = after

    def tripped(self) -> frozenset[str]:
        """Return the experiments in which this router withholds ordinary traffic from treatment."""
        return frozenset(
            experiment
            for experiment, breaker in self._breakers.items()
            if breaker.mode is not BreakerMode.CLOSED
        )

    def _breaker(self, experiment: str) -> Breaker:
        return self._breakers.get(experiment, Breaker())
