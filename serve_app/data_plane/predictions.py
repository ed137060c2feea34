"""The router's work, without Ray or HTTP: check a request, choose its version, answer."""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from registry.layout import is_version
from registry.predictors import Windows
from registry.records import ModelMetadata
from serve_app.api.rest.errors import body_of
from serve_app.api.rest.parsing import (
    BatchRequest,
    PredictRequest,
    ReloadRequest,
    as_window,
    parse_predict,
    symbol_of,
)
from serve_app.data_plane.backends import Backend, Backends
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.data_plane.timing import Stage, Stopwatch
from serve_app.data_plane.variant_runner import Asked, Breakers, Recorder, Trials
from serve_app.errors import (
    BodyTooLargeError,
    InvalidRequestError,
    ModelOutputError,
    NotRegisteredError,
    NotServedError,
    ServingError,
    UnusableVersionError,
    VersionLoadingError,
)
from serve_app.experiments.circuit_breaker import BreakerMode
from serve_app.experiments.records import PredictionRecord
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import RouterSettings
from serve_app.state.routing import RoutingTable
from serve_app.versions import VersionRef


class VersionLoader(Protocol):
    """What loads versions for the whole application."""

    async def reload(self, model: str, reference: str | None) -> Mapping[str, str]:
        """Load a version and move the traffic; return the version by stage, `loaded` included."""

    async def request(self, model: str, version: str) -> None:
        """Begin to load a version that somebody asked for."""


class StateConfirmation(Protocol):
    """The router's knowledge of whether it follows the present serving state."""

    confirmed: bool
    """Whether the router may serve."""

    async def confirm(self) -> None:
        """Return once the router may serve; raise UnconfirmedStateError if it may not."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A checked request and the version that answers it."""

    symbol: str
    window: Windows
    metadata: ModelMetadata
    backend: Backend
    """Held from here on: the version may leave the table before it has answered."""


class PredictionService:
    """Answers predictions from the versions of a routing table.

    `backends` has one backend a version of it. Methods raise the leaves of
    `serve_app.errors.ServingError` that `serve_app.api.rest.errors` lists.
    """

    def __init__(
        self,
        table: RoutingTable,
        backends: Backends,
        loader: VersionLoader,
        recorder: Recorder,
        settings: RouterSettings,
        confirmation: StateConfirmation,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._table = table
        self._confirmation = confirmation
        self._backends = backends
        self._loader = loader
        self._recorder = recorder
        self._max_batch_requests = settings.max_batch_requests
        self._breakers = Breakers(settings.breaker)
        self._trials = Trials(
            self._run,
            recorder,
            self._breakers,
            settings.treatment_timeout_s,
            settings.request_timeout_s,
        )
        self._now = now
        self._started_s = time.monotonic()

    @property
    def table(self) -> RoutingTable:
        """What requests are routed by."""
        return self._table

    def adopt(self, table: RoutingTable) -> None:
        """Route by `table` from the next request on; each of its versions has a backend."""
        self._table = table
        self._breakers.keep([each.experiment_id for each in table.experiments.values()])

    async def predict(self, request: PredictRequest, watch: Stopwatch) -> dict[str, Any]:
        """Answer one request, whose body has been read and parsed in the time on `watch`."""
        if not self._confirmation.confirmed:
            await self._confirmation.confirm()
        running = self._table.experiment(request.model_name, request.model_version)
        if running is not None:
            return await self._predict_in(running, request, watch)
        work = await self._prepare(request)
        watch.lap(Stage.ROUTE)
        result = await _ready(work.metadata, work.backend).predict(work.window)
        watch.lap_of_run(result.run if isinstance(result, Prediction) else None)
        return self._answer(work, result, watch)

    async def predict_batch(self, batch: BatchRequest, watch: Stopwatch) -> dict[str, Any]:
        """Answer a list of requests in their order; a failed one has its error in its place."""
        if len(batch.items) > self._max_batch_requests:
            raise BodyTooLargeError("requests", self._max_batch_requests, len(batch.items))
        if not self._confirmation.confirmed:
            await self._confirmation.confirm()
        answers: dict[int, dict[str, Any]] = {}
        groups: dict[VersionRef, dict[int, _Work]] = defaultdict(dict)
        singles: dict[int, PredictRequest] = {}
        for index, item in enumerate(batch.items):
            try:
                request = _parse_item(item)
                if self._table.experiment(request.model_name, request.model_version) is not None:
                    # Each has a variant, a record and perhaps a stand-in of its own; the versions
                    # batch what comes at once anyway.
                    singles[index] = request
                    continue
                work = await self._prepare(request)
            except ServingError as error:
                answers[index] = _failed(symbol_of(item), error)
            else:
                groups[VersionRef.of(work.metadata)][index] = work
            await asyncio.sleep(0)  # a long list must not hold up the other requests
        # A variant's time begins when an item is sent, not while it waits behind the rest of the
        # body; at twice the size either variant can fill its runs.
        sent = asyncio.Semaphore(2 * batch.max_batch_size)
        for answered in await asyncio.gather(
            *(self._predict_group(group, batch.max_batch_size, watch) for group in groups.values()),
            *(self._predict_single(index, single, sent) for index, single in singles.items()),
        ):
            answers |= answered
        failed = sum("error" in answer for answer in answers.values())
        return {
            "predictions": [answers[index] for index in range(len(batch.items))],
            "total_latency_ms": watch.since_read_ms(),
            "succeeded": len(answers) - failed,
            "failed": failed,
        }

    def tripped(self) -> frozenset[str]:
        """Return the experiments whose treatment is out of this router's traffic."""
        modes = self._breakers.modes().items()
        return frozenset(key for key, mode in modes if mode is not BreakerMode.CLOSED)

    def models(self) -> list[dict[str, Any]]:
        """Return every version behind this server."""
        return [
            {
                "name": each.name,
                "version": each.version,
                "stage": self._table.stage_of(each),
                "model_type": each.model_type,
                "metrics": each.metrics,
                "size_mb": each.model_size_mb,
                "loaded": self._backends.loaded(VersionRef.of(each)),
            }
            for each in self._table.versions
        ]

    async def reload(self, request: ReloadRequest) -> dict[str, Any]:
        """Load a version beside the others and let the model's stages follow the registry."""
        stages = dict(await self._loader.reload(request.model_name, request.version))
        version = stages.pop("loaded")
        held = ", ".join(f"{stage} is {number}" for stage, number in stages.items())
        return {
            "status": "success",
            "message": f"{request.model_name}:{version} answers; {held or 'it holds no stage'}",
            "model_name": request.model_name,
            "version": version,
        }

    def health(self) -> dict[str, Any]:
        """Return what is loaded; unhealthy when a request that names nothing has no answer."""
        loaded = [ref for ref in self._table.refs if self._backends.loaded(ref)]
        return {
            "status": self._status(loaded),
            "timestamp": self._now(),
            "loaded_models": [str(ref) for ref in loaded],
            "active_experiments": sorted(
                each.experiment_id for each in self._table.experiments.values()
            ),
            "uptime_seconds": time.monotonic() - self._started_s,
        }

    def _status(self, loaded: Sequence[VersionRef]) -> str:
        if loaded and self._table.pinned.issubset(loaded):
            return "healthy"
        try:
            usual = VersionRef.of(self._table.choose(None, None))
        except NotServedError:
            return "degraded" if loaded else "unhealthy"
        return "degraded" if usual in loaded else "unhealthy"

    async def _prepare(self, request: PredictRequest) -> _Work:
        try:
            metadata = self._table.choose(request.model_name, request.model_version)
        except NotServedError as missing:
            await self._ask_for(missing)
            raise
        window = as_window(request.features, metadata.input_shape)
        return _Work(request.symbol, window, metadata, self._backend(metadata))

    async def _ask_for(self, missing: NotServedError) -> None:
        """Have a version loaded that somebody named, where that is allowed and it is registered."""
        model, version = missing.model, missing.version
        if not self._table.loads_on_demand or version is None or not is_version(version):
            return
        try:
            await self._loader.request(model, version)
        except NotRegisteredError:
            return
        except UnusableVersionError as error:
            raise VersionLoadingError(model, version, error.problem) from error
        raise VersionLoadingError(model, version, "it is being loaded")

    def _backend(self, metadata: ModelMetadata) -> Backend:
        backend = self._backends.use(VersionRef.of(metadata))
        if backend is None:
            raise NotServedError(metadata.name, metadata.version, self._table.served)
        return backend

    async def _predict_in(
        self, running: RunningExperiment, request: PredictRequest, watch: Stopwatch
    ) -> dict[str, Any]:
        """Answer a request within an experiment."""
        asked = Asked(
            prediction_id=uuid.uuid4().hex,
            symbol=request.symbol,
            unit_id=request.unit_id,
            features=request.features,
            time=self._now(),
        )
        watch.lap(Stage.ROUTE)
        answered = await self._trials.answer(self._table, running, asked)
        watch.lap_of_run(answered.prediction.run)
        document = self._document(
            asked.prediction_id, asked.symbol, answered.metadata, answered.prediction, watch
        )
        document["variant"] = answered.variant.value
        if answered.fallback:
            document["fallback"] = True
        return document

    async def _run(self, metadata: ModelMetadata, features: object) -> Prediction:
        """Have a version answer."""
        window = as_window(features, metadata.input_shape)
        result = await _ready(metadata, self._backend(metadata)).predict(window)
        if isinstance(result, Failure):
            raise ModelOutputError(metadata.name, metadata.version, result.problem)
        return result

    async def _predict_single(
        self, index: int, request: PredictRequest, sent: asyncio.Semaphore
    ) -> dict[int, dict[str, Any]]:
        try:
            async with sent:
                return {index: await self.predict(request, Stopwatch())}
        except ServingError as error:
            return {index: _failed(request.symbol, error)}

    async def _predict_group(
        self, group: Mapping[int, _Work], max_batch_size: int, watch: Stopwatch
    ) -> dict[int, dict[str, Any]]:
        """Answer requests for one version, at most `max_batch_size` in a run of the model."""
        answers: dict[int, dict[str, Any]] = {}
        indices = list(group)
        for start in range(0, len(indices), max_batch_size):
            chunk = indices[start : start + max_batch_size]
            works = [group[index] for index in chunk]
            try:
                windows = np.stack([work.window for work in works])
                results = await _ready(works[0].metadata, works[0].backend).predict_many(windows)
            except ServingError as error:
                answers |= {i: _failed(group[i].symbol, error) for i in chunk}
                continue
            for index, work, result in zip(chunk, works, results, strict=True):
                try:
                    answers[index] = self._answer(work, result, watch)
                except ModelOutputError as error:
                    answers[index] = _failed(work.symbol, error)
        return answers

    def _answer(
        self, work: _Work, result: Prediction | Failure, watch: Stopwatch
    ) -> dict[str, Any]:
        metadata = work.metadata
        if isinstance(result, Failure):
            raise ModelOutputError(metadata.name, metadata.version, result.problem)
        prediction_id = uuid.uuid4().hex
        document = self._document(prediction_id, work.symbol, metadata, result, watch)
        self._recorder.record(
            PredictionRecord(
                prediction_id=prediction_id,
                time=document["timestamp"],
                model=metadata.name,
                version=metadata.version,
                symbol=work.symbol,
                latency_ms=document["latency_ms"],
                direction=result.direction,
                confidence=result.confidence,
                expected_return=result.expected_return,
            )
        )
        return document

    def _document(
        self,
        prediction_id: str,
        symbol: str,
        metadata: ModelMetadata,
        result: Prediction,
        watch: Stopwatch,
    ) -> dict[str, Any]:
        return {
            "symbol": symbol,
            "prediction": {
                "direction": result.direction,
                "confidence": result.confidence,
                "expected_return": result.expected_return,
            },
            "model_name": metadata.name,
            "model_version": metadata.version,
            "variant": None,
            "prediction_id": prediction_id,
            "latency_ms": watch.since_read_ms(),
            "timestamp": self._now(),
        }


def _ready(metadata: ModelMetadata, backend: Backend) -> Backend:
    """Return what answers; VersionLoadingError while it cannot."""
    if not backend.loaded():
        raise VersionLoadingError(metadata.name, metadata.version, backend.problem())
    return backend


def _parse_item(item: object) -> PredictRequest:
    request = parse_predict(item)
    if request.timings:
        raise InvalidRequestError("timings", "only in a request of its own", "true in a batch")
    return request


def _failed(symbol: str | None, error: ServingError) -> dict[str, Any]:
    return {"symbol": symbol, "error": body_of(error)}
