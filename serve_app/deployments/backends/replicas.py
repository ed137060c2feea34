"""The backend of a version that runs in replicas: their health, and calls to them."""

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
from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.data_plane.dynamic_batching import Batcher, batch_wait_s
from serve_app.deployments.channel.client import ChannelLostError, ChannelPool
from serve_app.deployments.channel.protocol import Address
from serve_app.deployments.ray_errors import RAY_ERRORS, CallFailure, cause_of, failure_of
from serve_app.errors import (
    OverloadedError,
    PredictionFailedError,
    ServingError,
    VersionLoadingError,
)
from serve_app.state.serving import ServedVersion
from serve_app.timeouts import REPLICA_DISCOVERY_S, REPLICA_HEARTBEAT_PERIOD_S, REPLICA_HEARTBEAT_S

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""A prediction may be computed twice without harm, so a lost replica loses no request. The last
attempt uses Serve's handle, which waits for a replacement if no replica is left."""

MIN_SHARE = 4
"""The fewest windows of a body sent to one replica; sending fewer costs more than it gains."""

MAX_MESSAGE_BYTES = 3_000_000
"""The most bytes of windows in one call; gRPC rejects messages of more than 4 MiB."""

T = TypeVar("T")


class ReplicaBackend:
    """Calls the replicas of one version; every failure is raised as a ServingError.

    A batch is sent through a channel to the least busy replica, or through Serve's handle if no
    channel accepts calls. Serve's handle also discovers the replicas' addresses.

    The version counts as loaded while it responds to predictions or to the heartbeats of `watch`.
    Serve's own status does not show that: it drops running deployments when a later deploy fails.

    Args:
        version: the version, with its settings.
        handle: Serve's handle of the version's deployment.
        timeout_s: the longest time that a request may take.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        version: ServedVersion,
        handle: DeploymentHandle[Any],
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._version = version.ref
        self._settings = settings = version.settings
        self._watch: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._predict = handle.predict
        self._predict_many = handle.predict_many
        self._handle = handle
        self._timeout_s = timeout_s
        self._clock = clock
        self._last_response_s = -math.inf
        self._turn: asyncio.TimerHandle | None = None
        self._turned_s: float | None = None
        self.channels = ChannelPool(version.ref, REPLICA_HEARTBEAT_S)
        """The channels to the replicas discovered so far."""
        item_bytes = np.dtype(version.metadata.input_type).itemsize
        window_bytes = item_bytes * math.prod(version.metadata.input_shape)
        self._windows_per_message = max(1, MAX_MESSAGE_BYTES // window_bytes)
        # Per replica one call is computed while the next one is sent.
        self._batcher = Batcher(
            self._send_waiting,
            min(settings.batching.max_batch_size, self._windows_per_message),
            max_in_flight=2 * settings.min_replicas,
        )

    def loaded(self) -> bool:
        """Return whether a replica responded within REPLICA_HEARTBEAT_S.

        Time in which this process was stopped does not count against the replicas.
        """
        self._discount_stop()
        return self._clock() - self._last_response_s < REPLICA_HEARTBEAT_S

    def problem(self) -> str | None:
        """Return None: Serve restarts replicas, and only the fleet learns that it has given up."""
        return None

    def start_watch(self) -> None:
        """Start to send heartbeats to the replicas."""
        self._watch = asyncio.get_running_loop().create_task(self.watch())
        self.turn()

    def turn(self) -> None:
        """Note that the event loop turns, now and in each period from now on."""
        self._discount_stop()
        self._turned_s = self._clock()
        loop = asyncio.get_running_loop()
        self._turn = loop.call_later(REPLICA_HEARTBEAT_PERIOD_S, self.turn)

    def _discount_stop(self) -> None:
        now_s = self._clock()
        if self._turned_s is not None and now_s - self._turned_s > 2 * REPLICA_HEARTBEAT_PERIOD_S:
            self._last_response_s += now_s - self._turned_s
            self._turned_s = now_s

    def close(self) -> None:
        """Stop the heartbeats and close the channels; calls in flight are completed."""
        if self._watch is not None:
            self._watch.cancel()
        if self._turn is not None:
            self._turn.cancel()
        self.channels.close()

    async def watch(self) -> None:
        """Send heartbeats forever; each one waits up to its timeout for a replica to exist."""
        while True:
            try:
                async with asyncio.timeout(REPLICA_HEARTBEAT_S):
                    address = await self._handle.address.remote()
                self._last_response_s = self._clock()
                if self._settings.autoscaling is None and address is not None:
                    await self._discover(address)
            # The watch survives any error: without it the version would never be loaded again. A
            # call that Ray cancelled does not cancel this task.
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled():
                    raise
                logger.warning("%s is unresponsive: %r", self._version, error)
            await asyncio.sleep(REPLICA_HEARTBEAT_PERIOD_S)

    async def _discover(self, one: Address) -> None:
        """Open channels to the replica that replied to the heartbeat and to all others."""
        self.channels.add(one)
        if len(self.channels) >= self._settings.min_replicas:
            return
        try:
            addresses = await self._handle.broadcast("address").results_async(
                timeout_s=REPLICA_DISCOVERY_S, return_exceptions=True
            )
        except (TimeoutError, *RAY_ERRORS) as error:
            logger.warning("%s: replicas not discovered: %r", self._version, error)
            return
        for address in addresses:
            if isinstance(address, Address):
                self.channels.add(address)

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Return the prediction for one window (timesteps, features)."""
        others_in_flight = self._in_flight
        if self._settings.autoscaling is not None:
            # Serve scales by the calls in flight, so each request must be a separate call.
            with self._counted():
                return await self._call(lambda _: self._predict.remote(window, others_in_flight))
        self._require_capacity()
        with self._counted():
            return await self._submit(window, others_in_flight)

    async def predict_many(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Return the predictions for windows (batch, timesteps, features), in order.

        The replicas share the windows, which count as one request.
        """
        if self._settings.autoscaling is None:
            self._require_capacity()
        share = math.ceil(len(windows) / self._settings.min_replicas)
        step = min(max(share, MIN_SHARE), self._windows_per_message)
        parts = [windows[start : start + step] for start in range(0, len(windows), step)]
        with self._counted():
            results = await _gather([self._send(part) for part in parts])
        return [result for part in results for result in part]

    def _require_capacity(self) -> None:
        """Raise OverloadedError where Serve would: Serve does not count calls on a channel."""
        settings = self._settings
        limit = settings.max_ongoing_requests * settings.min_replicas + settings.max_queued_requests
        if self._in_flight >= limit:
            problem = f"{self._in_flight} requests in flight in this router, at most {limit}"
            raise OverloadedError(*self._version, problem)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _submit(self, window: Windows, others_in_flight: int) -> Prediction | Failure:
        """Return the prediction for one window, sent in one call with other waiting windows."""
        wait_s = batch_wait_s(self._settings.batching, others_in_flight)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._batcher.submit((window, time.perf_counter()), wait_s)
        except TimeoutError:
            raise self._timed_out() from None

    async def _send_waiting(
        self, waiting: Sequence[tuple[Windows, float]]
    ) -> Sequence[Prediction | Failure]:
        """Send windows, each with the time at which it was submitted, in one call."""
        sent_s = time.perf_counter()
        windows = np.stack([window for window, _ in waiting])
        results = await self._send(windows)
        return [
            result.with_run(Run(sent_s - submitted_s + result.run.waited_s, result.run.took_s))
            if isinstance(result, Prediction) and result.run is not None
            else result
            for result, (_, submitted_s) in zip(results, waiting, strict=True)
        ]

    async def _send(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Send windows that fit into one call, and return one result per window."""

        def send(attempt: int) -> Awaitable[Sequence[Prediction | Failure]]:
            channel = self.channels.least_busy() if attempt < ATTEMPTS else None
            if channel is not None:
                return channel.predict_many(windows)
            return self._predict_many.remote(windows)

        results = await self._call(send)
        if len(results) != len(windows):
            problem = f"expected {len(windows)} results, received {len(results)}"
            raise PredictionFailedError(*self._version, problem)
        return results

    def _timed_out(self) -> OverloadedError:
        problem = f"no response within {self._timeout_s} s"
        return OverloadedError(*self._version, problem)

    async def _call(self, send: Callable[[int], Awaitable[T]]) -> T:
        """Return the response to what `send` sends, given the number of the attempt."""
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._send_with_retries(send)
        except TimeoutError:
            raise self._timed_out() from None
        except ServingError:
            raise
        except Exception as error:
            match failure_of(error):
                case CallFailure.OVERLOADED:
                    raise OverloadedError(*self._version, str(error)) from None
                case CallFailure.NOT_DEPLOYED:
                    raise VersionLoadingError(*self._version) from None
                case CallFailure.LOST:
                    raise PredictionFailedError(*self._version, "its replica died") from error
            cause = cause_of(error)
            if isinstance(cause, ServingError):
                raise cause from None
            logger.exception("%s failed", self._version)
            raise PredictionFailedError.unexpected(*self._version, cause) from error
        self._last_response_s = self._clock()
        return response

    async def _send_with_retries(self, send: Callable[[int], Awaitable[T]]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await send(attempt)
            except (ChannelLostError, *RAY_ERRORS) as error:
                if attempt == ATTEMPTS or not _is_lost(error):
                    raise
                logger.warning("%s: call retried: %s", self._version, error)
        raise AssertionError("unreachable")


async def _gather(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results, in order; if one call fails, cancel the others before raising."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


def _is_lost(error: Exception) -> bool:
    """Return whether the replica was lost, so that another one can be called."""
    return isinstance(error, ChannelLostError) or failure_of(error) is CallFailure.LOST


def _is_cancelled() -> bool:
    """Return whether the running task itself is cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
