"""A request within an experiment: which variant answers it, what is recorded, and who stands in.

split    one variant answers; where treatment fails or takes too long, control does
mirror   both variants run, the bot gets control's answer, both are recorded

What a variant does is recorded as it was, alike for both: a run goes on to its own end when control
has stood in for it or the bot has given up, and counts as an error only where it failed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from registry.records import ModelMetadata
from serve_app.data_plane.decoding import Prediction
from serve_app.errors import (
    InvalidFeaturesError,
    NotServedError,
    OverloadedError,
    PredictionFailedError,
    ServingError,
)
from serve_app.experiments.circuit_breaker import (
    Breaker,
    BreakerMode,
    BreakerSettings,
    Turn,
    on_failure,
    on_success,
    turn,
)
from serve_app.experiments.records import CIRCUIT_OPEN, PredictionRecord, Variant
from serve_app.experiments.running import RunningExperiment
from serve_app.state.routing import RoutingTable

logger = logging.getLogger(__name__)

Run = Callable[[ModelMetadata, object], Awaitable[Prediction]]
"""Checks features against a version's input and has it answer; raises ServingError."""

T = TypeVar("T")

NOT_SERVED = "not_served"
"""The error of a request that treatment would have answered, were it there."""


class Recorder(Protocol):
    """Where predictions are noted; never waits, never raises."""

    def record(self, record: PredictionRecord) -> None:
        """Note a prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request brings to an experiment."""

    prediction_id: str
    symbol: str
    unit_id: str | None
    features: object
    time: datetime


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """Who answered, and what."""

    prediction: Prediction
    metadata: ModelMetadata
    variant: Variant
    fallback: bool = False
    """Whether control stood in for treatment."""


class Breakers:
    """One circuit breaker an experiment, in this router."""

    def __init__(
        self, settings: BreakerSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._states: dict[str, Breaker] = {}

    def keep(self, experiments: Collection[str]) -> None:
        """Forget the breakers of experiments that run no more."""
        self._states = {key: each for key, each in self._states.items() if key in experiments}

    def turn(self, experiment: str) -> Turn:
        """Return what becomes of a request that is treatment's."""
        due, after = turn(self._of(experiment), self._clock(), self._settings)
        self._states[experiment] = after
        return due

    def note(self, experiment: str, succeeded: bool) -> None:
        """Note how treatment answered."""
        before = self._of(experiment)
        step = on_success if succeeded else on_failure
        after = step(before, self._clock(), self._settings)
        if after.mode is not before.mode:
            logger.warning("%s: treatment's circuit breaker is %s", experiment, after.mode)
        self._states[experiment] = after

    def modes(self) -> dict[str, BreakerMode]:
        """Return by experiment whether treatment gets traffic in this router."""
        return {key: each.mode for key, each in self._states.items()}

    def _of(self, experiment: str) -> Breaker:
        return self._states.get(experiment, Breaker())


class Trials:
    """Answers requests within experiments.

    Args:
        run: has a version answer.
        recorder: notes what the variants answered.
        breakers: take treatment out when it fails.
        treatment_timeout_s: how long treatment may take before control answers in its place.
        request_timeout_s: how long a variant may take before that is an error of its own.
    """

    def __init__(
        self,
        run: Run,
        recorder: Recorder,
        breakers: Breakers,
        treatment_timeout_s: float,
        request_timeout_s: float,
    ) -> None:
        self._run = run
        self._recorder = recorder
        self._breakers = breakers
        self._treatment_timeout_s = treatment_timeout_s
        self._request_timeout_s = request_timeout_s
        self._going_on: set[asyncio.Task[Any]] = set()

    async def answer(
        self, table: RoutingTable, running: RunningExperiment, asked: Asked
    ) -> TrialAnswer:
        """Answer a request by a variant of `running`; both variants are in `table`.

        Raises:
            ServingError: control could not answer, or the request is no good.
        """
        control = table.variant(running, Variant.CONTROL)
        try:
            treatment = table.variant(running, Variant.TREATMENT)
        except NotServedError:
            treatment = None
        if running.mirrors:
            answering = self._begin(self._measured(running, Variant.CONTROL, control, asked))
            self._begin(self._treated(running, treatment, asked))
            return TrialAnswer(await asyncio.shield(answering), control, Variant.CONTROL)
        variant = running.variant_of(asked.prediction_id, asked.unit_id, asked.symbol, asked.time)
        if variant is Variant.CONTROL:
            answering = self._begin(self._measured(running, variant, control, asked))
            return TrialAnswer(await asyncio.shield(answering), control, variant)
        answered = await asyncio.shield(self._begin(self._treated(running, treatment, asked)))
        if answered is not None and treatment is not None:
            return TrialAnswer(answered, treatment, variant)
        # Not recorded as control's: it was not assigned to it, and would bias its sample.
        prediction = await self._run(control, asked.features)
        return TrialAnswer(prediction, control, Variant.CONTROL, fallback=True)

    async def _treated(
        self, running: RunningExperiment, metadata: ModelMetadata | None, asked: Asked
    ) -> Prediction | None:
        """Return treatment's answer; None where it failed, gave none in time, or was on trial."""
        if metadata is None:
            self._record(running, Variant.TREATMENT, asked, error=NOT_SERVED)
            return None
        match self._breakers.turn(running.experiment_id):
            case Turn.WITHHELD:
                self._record(running, Variant.TREATMENT, asked, error=CIRCUIT_OPEN)
                return None
            case Turn.TRIAL:
                self._begin(self._timely(running, metadata, asked))
                return None
            case Turn.ANSWER:
                return await self._timely(running, metadata, asked)

    async def _timely(
        self, running: RunningExperiment, metadata: ModelMetadata, asked: Asked
    ) -> Prediction | None:
        """Return treatment's answer; None where it failed or gave none in time.

        One that comes later is recorded like any other: control's slow answers are no errors
        either. The breaker counts it as a failure.
        """
        run = self._begin(self._measured(running, Variant.TREATMENT, metadata, asked))
        done, _ = await asyncio.wait({run}, timeout=self._treatment_timeout_s)
        if not done:
            self._breakers.note(running.experiment_id, succeeded=False)
            return None
        try:
            prediction = run.result()
        except InvalidFeaturesError:
            raise  # the request's fault, not treatment's
        except ServingError as error:
            logger.info("%s: treatment failed: %s", running.experiment_id, error)
            self._breakers.note(running.experiment_id, succeeded=False)
            return None
        self._breakers.note(running.experiment_id, succeeded=True)
        return prediction

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Return a task that goes on to its end, whoever stops waiting for it.

        In a context of its own: Serve cancels what a request called whose client has left.
        """
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._going_on.add(task)
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._going_on.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, ServingError):
            logger.error("a request within an experiment failed", exc_info=error)

    async def _measured(
        self,
        running: RunningExperiment,
        variant: Variant,
        metadata: ModelMetadata,
        asked: Asked,
    ) -> Prediction:
        """Return a variant's answer and record it with its own time, or its error."""
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._request_timeout_s):
                prediction = await self._run(metadata, asked.features)
        except InvalidFeaturesError:
            raise  # the request's fault, not the variant's
        except Exception as error:
            failure = self._failure(metadata, error)
            self._record(running, variant, asked, began_s, error=failure.code)
            raise failure from error
        self._record(running, variant, asked, began_s, prediction)
        return prediction

    def _failure(self, metadata: ModelMetadata, error: Exception) -> ServingError:
        """Return what a variant failed with as an error of serving."""
        if isinstance(error, ServingError):
            return error
        if isinstance(error, TimeoutError):
            problem = f"no answer within {self._request_timeout_s} s"
            return OverloadedError(metadata.name, metadata.version, problem)
        # What nobody foresaw: control stands in, and the log has the whole story.
        logger.error("%s:%s failed", metadata.name, metadata.version, exc_info=error)
        return PredictionFailedError(metadata.name, metadata.version, repr(error)[:200])

    def _record(
        self,
        running: RunningExperiment,
        variant: Variant,
        asked: Asked,
        began_s: float | None = None,
        prediction: Prediction | None = None,
        error: str | None = None,
    ) -> None:
        """Note what a variant answered, or its error; it was not asked where it never began."""
        definition = running.definition
        model, version = (
            (definition.control_model_name, definition.control_model_version)
            if variant is Variant.CONTROL
            else (definition.treatment_model_name, definition.treatment_model_version)
        )
        answered = (
            {}
            if prediction is None
            else {
                "direction": prediction.direction,
                "confidence": prediction.confidence,
                "expected_return": prediction.expected_return,
            }
        )
        self._recorder.record(
            PredictionRecord(
                prediction_id=asked.prediction_id,
                time=asked.time,
                model=model,
                version=version,
                symbol=asked.symbol,
                latency_ms=0.0 if began_s is None else (time.perf_counter() - began_s) * 1e3,
                experiment_id=running.experiment_id,
                variant=variant,
                treatment_share=None if running.mirrors else running.treatment_share,
                mirrored=running.mirrors,
                unit_id=asked.unit_id,
                error=error,
                **answered,  # type: ignore[arg-type]
            )
        )
