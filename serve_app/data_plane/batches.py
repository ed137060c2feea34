"""Batches of requests: each request succeeds or fails on its own, and keeps its position."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from registry.predictors import Windows
from serve_app.data_plane.deadlines import current_deadline
from serve_app.data_plane.predictions import PredictionService
from serve_app.data_plane.requests import BatchRequest, PredictionRequest
from serve_app.data_plane.responses import BatchResponse, FailedItem, PredictionResponse
from serve_app.data_plane.routes import Route
from serve_app.data_plane.timing import Stopwatch
from serve_app.errors import BodyTooLargeError, ModelOutputError, ServingError
from serve_app.versions import VersionRef

Responses = Mapping[int, PredictionResponse | FailedItem]
"""Responses by the position of their request in the batch."""


class _Prepared(NamedTuple):
    request: PredictionRequest
    route: Route
    window: Windows


class BatchService:
    """Serves batches of requests through the service for single predictions.

    Args:
        predictions: prepares, runs and records the requests.
        max_requests: the largest number of requests in a batch.
    """

    def __init__(self, predictions: PredictionService, max_requests: int) -> None:
        self._predictions = predictions
        self._max_requests = max_requests

    def check_size(self, requests: int) -> None:
        """Check the number of requests, which a front end may do before it decodes them.

        Raises:
            BodyTooLargeError: the batch holds more requests than the limit.
        """
        if requests > self._max_requests:
            raise BodyTooLargeError("requests", self._max_requests, requests)

    async def predict(self, batch: BatchRequest, watch: Stopwatch) -> BatchResponse:
        """Serve a batch; a request that fails has an error at its position.

        Raises:
            BodyTooLargeError: the batch holds more requests than the limit.
            UnconfirmedStateError: the router may follow an older serving state.
            DeadlinePassedError: the deadline of the batch has passed.
        """
        self.check_size(len(batch.items))
        await self._predictions.confirm()
        responses: dict[int, PredictionResponse | FailedItem] = {}
        groups: dict[VersionRef, dict[int, _Prepared]] = defaultdict(dict)
        singles: dict[int, PredictionRequest] = {}
        for index, item in enumerate(batch.items):
            if isinstance(item, FailedItem):
                responses[index] = item
                continue
            if item.features is None or self._predictions.experiment(item) is not None:
                # Each has its own variant, its own record and perhaps a fallback; the versions
                # batch simultaneous requests anyway. One without features runs no model.
                singles[index] = item
                continue
            try:
                route, window = await self._predictions.prepare(item)
            except ServingError as error:
                responses[index] = FailedItem(item.symbol, error)
            else:
                groups[route.version][index] = _Prepared(item, route, window)
            await asyncio.sleep(0)  # other requests proceed between the items of a long list
        # The time limit of a variant starts when its request is sent, not while the request waits
        # for the rest of the batch. With twice the size in flight, either variant fills its runs.
        in_flight = asyncio.Semaphore(2 * batch.max_batch_size)
        for served in await asyncio.gather(
            *(self._predict_group(group, batch.max_batch_size, watch) for group in groups.values()),
            *(self._predict_single(index, single, in_flight) for index, single in singles.items()),
        ):
            responses |= served
        return BatchResponse(
            items=[responses[index] for index in range(len(batch.items))],
            latency_ms=watch.since_read_ms(),
        )

    async def _predict_single(
        self, index: int, request: PredictionRequest, in_flight: asyncio.Semaphore
    ) -> Responses:
        try:
            async with in_flight:
                return {index: await self._predictions.predict(request, Stopwatch())}
        except ServingError as error:
            return {index: FailedItem(request.symbol, error)}

    async def _predict_group(
        self, group: Mapping[int, _Prepared], max_batch_size: int, watch: Stopwatch
    ) -> Responses:
        """Serve the requests for one version, at most `max_batch_size` per run of the model."""
        responses: dict[int, PredictionResponse | FailedItem] = {}
        indices = list(group)
        for start in range(0, len(indices), max_batch_size):
            current_deadline.get().check()
            chunk = indices[start : start + max_batch_size]
            try:
                windows = np.stack([group[index].window for index in chunk])
                backend = group[chunk[0]].route.ready_backend()
                results = await backend.predict_many(windows)
            except ServingError as error:
                responses |= {
                    index: FailedItem(group[index].request.symbol, error) for index in chunk
                }
                continue
            for index, result in zip(chunk, results, strict=True):
                request, route, _ = group[index]
                try:
                    responses[index] = self._predictions.respond(request, route, result, watch)
                except ModelOutputError as error:
                    responses[index] = FailedItem(request.symbol, error)
        return responses
