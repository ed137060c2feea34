"""A router's buffer of predictions that the experiment log has not yet committed."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from ray.actor import ActorHandle

from serve_app.deployments.ray_errors import RAY_ERRORS
from serve_app.experiments.records import PredictionRecord

logger = logging.getLogger(__name__)


class Outbox:
    """Sends a router's predictions to the experiment log in groups, off the request path.

    A prediction leaves the router within `PERIOD_S`, so that a router that dies loses few. A group
    that the log has not acknowledged is sent again. While the log is unavailable the predictions
    wait, up to `LIMIT`; beyond it they are dropped, counted and logged.

    Args:
        actor: the handle of the experiment log.
        record_all: whether predictions outside experiments are recorded.
        clock: seconds of a monotonic clock.
        sleep: waits for a number of seconds.
    """

    PERIOD_S = 0.02
    RETRY_S = 0.5
    GROUP = 1000
    IN_FLIGHT = 8
    """The most groups that are not acknowledged; the log takes 0.1 s to commit one."""
    LIMIT = 100_000
    LATE_S = 1.0
    """The age of an unacknowledged group from which on the log counts as late."""

    def __init__(
        self,
        actor: ActorHandle[Any],
        record_all: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._actor = actor
        self._record_all = record_all
        self._clock, self._sleep = clock, sleep
        self._new: list[PredictionRecord] = []
        self._filled = asyncio.Event()
        self._unacknowledged: dict[asyncio.Task[None], float] = {}
        """When each group was sent first."""
        self._slots = asyncio.Semaphore(self.IN_FLIGHT)
        self._waiting = 0
        self._dropped = 0

    async def problem(self) -> str | None:
        """Return why predictions are not recorded in time; None while they are."""
        if self._dropped:
            return f"{self._dropped} predictions were not recorded: {self.LIMIT} wait for the log"
        oldest_s = min(self._unacknowledged.values(), default=math.inf)
        if self._clock() - oldest_s > self.LATE_S:
            return f"{self._waiting} predictions wait for the log"
        return None

    def record(self, record: PredictionRecord) -> None:
        """Add a prediction to the next group; without an experiment, only under `record_all`."""
        if record.experiment_id is None and not self._record_all:
            return
        if self._waiting >= self.LIMIT:
            if self._dropped == 0:
                logger.error("predictions are not recorded: %d wait for the log", self.LIMIT)
            self._dropped += 1
            return
        self._waiting += 1
        self._new.append(record)
        self._filled.set()

    async def send_forever(self) -> None:
        """Send new predictions within `PERIOD_S`, several groups at a time."""
        while True:
            await self._filled.wait()
            await self._sleep(self.PERIOD_S)
            await self._slots.acquire()
            group, self._new = self._new[: self.GROUP], self._new[self.GROUP :]
            if not self._new:
                self._filled.clear()
            delivery = asyncio.get_running_loop().create_task(self._deliver(group))
            self._unacknowledged[delivery] = self._clock()
            delivery.add_done_callback(partial(self._finish, len(group)))

    async def _deliver(self, group: Sequence[PredictionRecord]) -> None:
        """Send a group until the log acknowledges it."""
        is_first = True
        while True:
            try:
                await self._actor.record_predictions.remote(group)
            except RAY_ERRORS as error:
                if is_first:
                    logger.warning("%d predictions wait for the log: %r", self._waiting, error)
                is_first = False
                await self._sleep(self.RETRY_S)
            else:
                return

    def _finish(self, size: int, delivery: asyncio.Task[None]) -> None:
        del self._unacknowledged[delivery]
        self._waiting -= size
        self._slots.release()
        if not delivery.cancelled() and (error := delivery.exception()) is not None:
            logger.error("a group of predictions was not recorded", exc_info=error)
        if self._dropped and self._waiting < self.LIMIT:
            logger.error("%d predictions were not recorded", self._dropped)
            self._dropped = 0
