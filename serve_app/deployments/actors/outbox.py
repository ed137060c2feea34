"""A router's buffer of predictions that the experiment log has not yet committed."""

import asyncio
import logging
from typing import Any

from ray.actor import ActorHandle

from serve_app.deployments.ray_errors import RAY_ERRORS
from serve_app.experiments.records import PredictionRecord

logger = logging.getLogger(__name__)


class Outbox:
    """Sends a router's predictions to the experiment log in groups, off the request path.

    A group that the log has not acknowledged is sent again. While the log is unavailable the
    predictions wait, up to `LIMIT`; beyond it they are dropped, counted and logged.
    """

    PERIOD_S = 0.1
    GROUP = 1000
    LIMIT = 100_000

    def __init__(self, actor: ActorHandle[Any], record_all: bool) -> None:
        self._actor = actor
        self._record_all = record_all
        self._waiting: list[PredictionRecord] = []
        self._sending = asyncio.Lock()
        self._dropped = 0

    def record(self, record: PredictionRecord) -> None:
        """Add a prediction to the next group; without an experiment, only under `record_all`."""
        if record.experiment_id is None and not self._record_all:
            return
        if len(self._waiting) >= self.LIMIT:
            if self._dropped == 0:
                logger.error("predictions are not recorded: %d wait for the log", self.LIMIT)
            self._dropped += 1
            return
        self._waiting.append(record)

    async def send_forever(self) -> None:
        """Send the waiting predictions ten times per second."""
        while True:
            await asyncio.sleep(self.PERIOD_S)
            await self.send()

    async def send(self) -> None:
        """Send all waiting predictions now; keep those that the log does not acknowledge."""
        async with self._sending:
            while self._waiting:
                group = self._waiting[: self.GROUP]
                try:
                    await self._actor.record_predictions.remote(group)
                except RAY_ERRORS as error:
                    logger.warning("%d predictions wait for the log: %r", len(self._waiting), error)
                    return
                del self._waiting[: len(group)]
                if self._dropped and len(self._waiting) < self.LIMIT:
                    logger.error("%d predictions were not recorded", self._dropped)
                    self._dropped = 0
