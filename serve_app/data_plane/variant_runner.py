"""A request within an experiment: variant assignment, records, and the fallback to control.

split    one variant responds; where treatment fails or takes too long, control responds
mirror   both variants run, the bot receives control's response, and both are recorded

Both variants are recorded alike, by what they did: a run continues to its own end after control has
responded in its place or the client has left, and it counts as an error only if it fails.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from registry.records import ModelMetadata
from serve_app.data_plane.breakers import Breakers
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import SymbolBar
from serve_app.data_plane.ports import PredictionRecorder
from serve_app.errors import (
    InvalidFeaturesError,
    NotServedError,
    OverloadedError,
    PredictionFailedError,
    ServingError,
    WindowError,
)
from serve_app.experiments.circuit_breaker import Admission
from serve_app.experiments.records import CIRCUIT_OPEN, PredictionRecord, Variant
from serve_app.experiments.running import RunningExperiment
from serve_app.state.routing import RoutingTable
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

RunVersion = Callable[[ModelMetadata, object], Awaitable[Prediction]]
"""Checks features against a version's input shape and runs the version; raises ServingError."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRequest:
    """A request within an experiment."""

    prediction_id: str
    symbol: str
    unit_id: str | None
    features: object
    time: datetime


@dataclass(frozen=True, slots=True)
class VariantResponse:
    """A prediction and the variant that computed it."""

    prediction: Prediction
    version: VersionRef
    variant: Variant
    fallback: bool = False
    """Whether control responded in place of treatment."""


class VariantRunner:
    """Serves requests within experiments.

    Args:
        run: runs a version.
        recorder: records the predictions and errors of the variants.
        breakers: exclude a treatment that fails.
        treatment_timeout_s: the time after which control responds in place of treatment.
        request_timeout_s: the time after which a variant's run is an error of that variant.
    """

    def __init__(
        self,
        run: RunVersion,
        recorder: PredictionRecorder,
        breakers: Breakers,
        treatment_timeout_s: float,
        request_timeout_s: float,
    ) -> None:
        self._run = run
        self._recorder = recorder
        self._breakers = breakers
        self._treatment_timeout_s = treatment_timeout_s
        self._request_timeout_s = request_timeout_s
        self._tasks: set[asyncio.Task[Any]] = set()

    async def predict(
        self, table: RoutingTable, running: RunningExperiment, request: ExperimentRequest
    ) -> VariantResponse:
        """Serve a request by a variant of `running`, whose versions are in `table`.

        Raises:
            ServingError: control failed, or the request is invalid.
        """
        control = table.variant(running, Variant.CONTROL)
        try:
            treatment = table.variant(running, Variant.TREATMENT)
        except NotServedError:
            treatment = None
        if running.mirrors:
            measured = self._start(self._run_recorded(running, Variant.CONTROL, control, request))
            self._start(self._run_treatment(running, treatment, request))
            return _response(await asyncio.shield(measured), control, Variant.CONTROL)
        variant = running.variant_of(
            request.prediction_id, request.unit_id, request.symbol, request.time
        )
        if variant is Variant.CONTROL:
            measured = self._start(self._run_recorded(running, variant, control, request))
            return _response(await asyncio.shield(measured), control, variant)
        treated = await asyncio.shield(
            self._start(self._run_treatment(running, treatment, request))
        )
        if treated is not None and treatment is not None:
            return _response(treated, treatment, variant)
        # Not recorded as control's: the request was not assigned to it, and would bias its sample.
        prediction = await self._run(control, request.features)
        return _response(prediction, control, Variant.CONTROL, fallback=True)

    async def _run_treatment(
        self,
        running: RunningExperiment,
        metadata: ModelMetadata | None,
        request: ExperimentRequest,
    ) -> Prediction | None:
        """Return treatment's prediction.

        None if treatment failed, exceeded its time, or received the request as a probe only.
        """
        if metadata is None:
            self._record(running, Variant.TREATMENT, request, error=NotServedError.code)
            return None
        match self._breakers.admit(running.experiment_id):
            case Admission.REJECT:
                self._record(running, Variant.TREATMENT, request, error=CIRCUIT_OPEN)
                return None
            case Admission.PROBE:
                self._start(self._run_in_time(running, metadata, request))
                return None
            case Admission.ADMIT:
                return await self._run_in_time(running, metadata, request)

    async def _run_in_time(
        self, running: RunningExperiment, metadata: ModelMetadata, request: ExperimentRequest
    ) -> Prediction | None:
        """Return treatment's prediction; None if it failed or exceeded its time.

        A late prediction is recorded like any other, since slow runs of control are no errors
        either. The breaker counts it as a failure.
        """
        run = self._start(self._run_recorded(running, Variant.TREATMENT, metadata, request))
        done, _ = await asyncio.wait({run}, timeout=self._treatment_timeout_s)
        if not done:
            self._breakers.record(running.experiment_id, succeeded=False)
            return None
        try:
            prediction = run.result()
        except (InvalidFeaturesError, WindowError):
            raise  # an error of the request, not of treatment
        except ServingError as error:
            logger.info("%s: treatment failed: %s", running.experiment_id, error)
            self._breakers.record(running.experiment_id, succeeded=False)
            return None
        self._breakers.record(running.experiment_id, succeeded=True)
        return prediction

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Return a task that continues to its end even if its result is no longer awaited.

        It runs in its own context: Serve cancels the calls made in the context of a request
        whose client has left.
        """
        task = asyncio.get_running_loop().create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, ServingError):
            logger.error("request within an experiment failed", exc_info=error)

    async def _run_recorded(
        self,
        running: RunningExperiment,
        variant: Variant,
        metadata: ModelMetadata,
        request: ExperimentRequest,
    ) -> Prediction:
        """Return a variant's prediction; record it, or its error, with its own latency."""
        started_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._request_timeout_s):
                prediction = await self._run(metadata, request.features)
        except (InvalidFeaturesError, WindowError):
            raise  # an error of the request, not of the variant
        except Exception as error:
            failure = self._failure(metadata, error)
            self._record(running, variant, request, started_s, error=failure.code)
            raise failure from error
        self._record(running, variant, request, started_s, prediction)
        return prediction

    def _failure(self, metadata: ModelMetadata, error: Exception) -> ServingError:
        """Return a variant's error as one of the serving errors."""
        if isinstance(error, ServingError):
            return error
        if isinstance(error, TimeoutError):
            problem = f"no response within {self._request_timeout_s} s"
            return OverloadedError(metadata.name, metadata.version, problem)
        # An unexpected error: control responds instead, and the log holds the traceback.
        logger.error("%s failed on a request", VersionRef.of(metadata), exc_info=error)
        return PredictionFailedError.unexpected(metadata.name, metadata.version, error)

    def _record(
        self,
        running: RunningExperiment,
        variant: Variant,
        request: ExperimentRequest,
        started_s: float | None = None,
        prediction: Prediction | None = None,
        error: str | None = None,
    ) -> None:
        """Record a variant's prediction or error; without `started_s` it never ran."""
        definition = running.definition
        model, version = (
            (definition.control_model_name, definition.control_model_version)
            if variant is Variant.CONTROL
            else (definition.treatment_model_name, definition.treatment_model_version)
        )
        self._recorder.record(
            PredictionRecord(
                prediction_id=request.prediction_id,
                time=request.time,
                model=model,
                version=version,
                symbol=request.symbol,
                latency_ms=0.0 if started_s is None else (time.perf_counter() - started_s) * 1e3,
                experiment_id=running.experiment_id,
                variant=variant,
                treatment_share=None if running.mirrors else running.treatment_share,
                **({} if prediction is None else prediction.recorded),
                **(request.features.recorded if isinstance(request.features, SymbolBar) else {}),
                mirrored=running.mirrors,
                unit_id=request.unit_id,
                error=error,
            )
        )


def _response(
    prediction: Prediction, metadata: ModelMetadata, variant: Variant, *, fallback: bool = False
) -> VariantResponse:
    return VariantResponse(prediction, VersionRef.of(metadata), variant, fallback)
