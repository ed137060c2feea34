"""The router's way to a version's replicas: whether they answer, and a call to one of them."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from ray.serve.handle import DeploymentHandle

from registry.predictors import Windows
from serve_app.data_plane.batching import Batcher, wait_for_mates_s
from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.deployments.channel.client import ChannelLostError, Channels
from serve_app.deployments.channel.protocol import Address
from serve_app.deployments.ray_errors import RAY_ERRORS, CallFailure, cause_of, failure_of
from serve_app.errors import (
    OverloadedError,
    PredictionFailedError,
    ServingError,
    VersionLoadingError,
)
from serve_app.state.serving import ServedVersion
from serve_app.timeouts import REPLICA_FIND_S, REPLICA_HEARTBEAT_S, REPLICA_PING_PERIOD_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""A prediction may be computed twice without harm, so a lost replica costs no answer. The last
attempt goes by Serve's handle, which waits for a replica where none is left."""

MIN_SHARE = 4
"""Windows of a body that go to one replica at the least; fewer cost more to send than they gain."""

MAX_MESSAGE_BYTES = 3_000_000
"""Of windows in one call; gRPC refuses messages of more than 4 MiB."""

T = TypeVar("T")


class ReplicaBackend:
    """Calls the replicas of one version; Ray's errors come out as ours.

    What it gathered goes by a channel to the least busy replica, and by Serve's handle where there
    is no channel. Serve's handle also tells where the replicas listen.

    The version counts as loaded while it answers: predictions, or the pings of `watch`. Serve's
    own status is no measure of that: it forgets running deployments when a later deploy fails.
    """

    def __init__(
        self,
        version: ServedVersion,
        handle: DeploymentHandle[Any],
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metadata = version.metadata
        self._settings = settings = version.settings
        self._watch: asyncio.Task[None] | None = None
        self._ongoing = 0
        self._predict = handle.predict
        self._predict_many = handle.predict_many
        self._handle = handle
        self._timeout_s = timeout_s
        self._clock = clock
        self._answered_s = -math.inf
        self._channels = Channels(version.key, REPLICA_HEARTBEAT_S)
        window_bytes = 4 * math.prod(self._metadata.input_shape)
        self._windows_in_message = max(1, MAX_MESSAGE_BYTES // window_bytes)
        # One call computes, one is on its way.
        self._batcher = Batcher(
            self._send_waiting,
            min(settings.batching.max_batch_size, self._windows_in_message),
            at_once=2 * settings.min_replicas,
        )

    def loaded(self) -> bool:
        """Return whether a replica answered within REPLICA_HEARTBEAT_S."""
        return self._clock() - self._answered_s < REPLICA_HEARTBEAT_S

    def problem(self) -> str | None:
        """Return None: replicas may always come back, and the fleet knows when they will not."""
        return None

    def start_watch(self) -> None:
        """Ping the replicas from now on."""
        self._watch = asyncio.get_running_loop().create_task(self.watch())

    def close(self) -> None:
        """End the pings and let go of the replicas; calls that are under way go on."""
        if self._watch is not None:
            self._watch.cancel()
        self._channels.close()

    async def watch(self) -> None:
        """Ping the replicas for ever; a ping waits a while for one to be there."""
        while True:
            try:
                async with asyncio.timeout(REPLICA_HEARTBEAT_S):
                    address = await self._handle.address.remote()
                self._answered_s = self._clock()
                if self._settings.autoscaling is None and address is not None:
                    await self._find_replicas(address)
            # Whatever it is, the watch goes on: without it the version would never be loaded. Ray
            # may cancel its own calls; that is not this task's end.
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled():
                    raise
                logger.warning("%s does not answer: %r", VersionRef.of(self._metadata), error)
            await asyncio.sleep(REPLICA_PING_PERIOD_S)

    async def _find_replicas(self, one: Address) -> None:
        """Open channels to the one that answered the ping, whichever it was, and to the others."""
        self._channels.learn(one)
        if len(self._channels) >= self._settings.min_replicas:
            return
        try:
            addresses = await self._handle.broadcast("address").results_async(
                timeout_s=REPLICA_FIND_S, return_exceptions=True
            )
        except (TimeoutError, *RAY_ERRORS) as error:
            logger.warning(
                "%s: a replica does not answer: %r", VersionRef.of(self._metadata), error
            )
            return
        for address in addresses:
            if isinstance(address, Address):
                self._channels.learn(address)

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Answer one window (timesteps, features)."""
        company = self._ongoing
        if self._settings.autoscaling is not None:
            # Serve scales by the calls that are under way: each request is one of its own.
            with self._counted():
                return await self._call(lambda _: self._predict.remote(window, company))
        self._refuse_beyond_limits()
        with self._counted():
            return await self._gather(window, company)

    async def predict_many(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Answer windows (batch, timesteps, features), in order; they count as one request.

        All replicas share the work.
        """
        if self._settings.autoscaling is None:
            self._refuse_beyond_limits()
        share = math.ceil(len(windows) / self._settings.min_replicas)
        step = min(max(share, MIN_SHARE), self._windows_in_message)
        parts = [windows[start : start + step] for start in range(0, len(windows), step)]
        with self._counted():
            answered = await _all_of([self._send(part) for part in parts])
        return [result for part in answered for result in part]

    def _refuse_beyond_limits(self) -> None:
        """Raise OverloadedError where Serve would; it does not see what goes by a channel."""
        settings = self._settings
        limit = settings.max_ongoing_requests * settings.min_replicas + settings.max_queued_requests
        if self._ongoing >= limit:
            problem = f"{self._ongoing} requests in work in this router, at most {limit}"
            raise OverloadedError(self._metadata.name, self._metadata.version, problem)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._ongoing += 1
        try:
            yield
        finally:
            self._ongoing -= 1

    async def _gather(self, window: Windows, company: int) -> Prediction | Failure:
        """Answer one window, in one call with others that are there."""
        wait_s = wait_for_mates_s(self._settings.batching, company)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._batcher.submit((window, time.perf_counter()), wait_s)
        except TimeoutError:
            raise self._late() from None

    async def _send_waiting(
        self, waiting: Sequence[tuple[Windows, float]]
    ) -> Sequence[Prediction | Failure]:
        """Answer windows, each with the time since when it waits, in one call."""
        sent_s = time.perf_counter()
        windows = np.stack([window for window, _ in waiting])
        results = await self._send(windows)
        return [
            result.of(Run(sent_s - since_s + result.run.waited_s, result.run.took_s))
            if isinstance(result, Prediction) and result.run is not None
            else result
            for result, (_, since_s) in zip(results, waiting, strict=True)
        ]

    async def _send(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Answer what fits into one call; a result a window."""

        def send(attempt: int) -> Awaitable[Sequence[Prediction | Failure]]:
            channel = self._channels.least_busy() if attempt < ATTEMPTS else None
            if channel is not None:
                return channel.predict_many(windows)
            return self._predict_many.remote(windows)

        results = await self._call(send)
        if len(results) != len(windows):
            name, version = self._metadata.name, self._metadata.version
            problem = f"expected {len(windows)} results, received {len(results)}"
            raise PredictionFailedError(name, version, problem)
        return results

    def _late(self) -> OverloadedError:
        problem = f"no answer within {self._timeout_s} s"
        return OverloadedError(self._metadata.name, self._metadata.version, problem)

    async def _call(self, send: Callable[[int], Awaitable[T]]) -> T:
        """Return the answer to what `send` sends, given the number of the attempt."""
        name, version = self._metadata.name, self._metadata.version
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._send_until_answered(send)
        except TimeoutError:
            raise self._late() from None
        except ServingError:
            raise
        except Exception as error:
            match failure_of(error):
                case CallFailure.OVERLOADED:
                    raise OverloadedError(name, version, str(error)) from None
                case CallFailure.NOT_DEPLOYED:
                    raise VersionLoadingError(name, version) from None
                case CallFailure.LOST:
                    raise PredictionFailedError(name, version, "its replica died") from error
            cause = cause_of(error)
            if isinstance(cause, ServingError):
                raise cause from None
            logger.exception("%s:%s failed", name, version)
            raise PredictionFailedError.unforeseen(name, version, cause) from error
        self._answered_s = self._clock()
        return answer

    async def _send_until_answered(self, send: Callable[[int], Awaitable[T]]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await send(attempt)
            except (ChannelLostError, *RAY_ERRORS) as error:
                is_lost = isinstance(error, ChannelLostError)
                is_lost = is_lost or failure_of(error) is CallFailure.LOST
                if attempt == ATTEMPTS or not is_lost:
                    raise
                logger.warning("%s: sent again: %s", VersionRef.of(self._metadata), error)
        raise AssertionError("unreachable")


async def _all_of(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results, in order; where one fails, the others are given up first."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


def _is_cancelled() -> bool:
    """Return whether the running task itself is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
