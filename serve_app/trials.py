"""A request within an experiment: which arm answers it, what is recorded, and who stands in.

split    one arm answers; where treatment fails, control does, and treatment's error is recorded
mirror   both arms run, the bot gets control's answer, both are recorded
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from registry.records import ModelMetadata
from serve_app.errors import (
    InvalidFeaturesError,
    NotServedError,
    OverloadedError,
    ServingError,
)
from serve_app.experiments.breaker import (
    Breaker,
    BreakerMode,
    BreakerSettings,
    allow,
    on_failure,
    on_success,
)
from serve_app.experiments.records import PredictionRecord, Variant
from serve_app.experiments.running import RunningExperiment
from serve_app.http_errors import code_of
from serve_app.inference.prediction import Prediction
from serve_app.routing import RoutingTable

logger = logging.getLogger(__name__)

Run = Callable[[ModelMetadata, object], Awaitable[Prediction]]
"""Checks features against a version's input and has it answer; raises ServingError."""

CIRCUIT_OPEN = "circuit_open"
"""The error of a request that treatment would have answered, had it not been taken out."""

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
    received_s: float
    """By time.perf_counter."""


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """Who answered, and what."""

    prediction: Prediction
    metadata: ModelMetadata
    variant: Variant
    fallback: bool = False
    """Whether control stood in for treatment, whose error is recorded."""


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

    def allows(self, experiment: str) -> bool:
        """Return whether treatment may answer now."""
        allowed, after = allow(self._of(experiment), self._clock(), self._settings)
        self._states[experiment] = after
        return allowed

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
        recorder: notes what the arms answered.
        breakers: take treatment out when it fails.
        treatment_timeout_s: how long treatment may take before control answers in its place.
    """

    def __init__(
        self, run: Run, recorder: Recorder, breakers: Breakers, treatment_timeout_s: float
    ) -> None:
        self._run = run
        self._recorder = recorder
        self._breakers = breakers
        self._treatment_timeout_s = treatment_timeout_s
        self._shadows: set[asyncio.Task[None]] = set()

    async def answer(
        self, table: RoutingTable, running: RunningExperiment, asked: Asked
    ) -> TrialAnswer:
        """Answer a request by an arm of `running`; both arms are in `table`.

        Raises:
            ServingError: control could not answer, or the request is no good.
        """
        control = table.arm(running, Variant.CONTROL)
        try:
            treatment = table.arm(running, Variant.TREATMENT)
        except NotServedError:
            treatment = None
        if running.mirrors:
            shadow = asyncio.get_running_loop().create_task(self._shadow(running, treatment, asked))
            self._shadows.add(shadow)
            shadow.add_done_callback(self._shadows.discard)
            prediction = await self._measured(running, Variant.CONTROL, control, asked)
            return TrialAnswer(prediction, control, Variant.CONTROL)
        variant = running.variant_of(asked.prediction_id, asked.unit_id, asked.symbol, asked.time)
        if variant is Variant.CONTROL:
            prediction = await self._measured(running, variant, control, asked)
            return TrialAnswer(prediction, control, variant)
        answered = await self._treated(running, treatment, asked)
        if answered is not None and treatment is not None:
            return TrialAnswer(answered, treatment, variant)
        # Not recorded as control's: it was not assigned to it, and would bias its sample.
        prediction = await self._run(control, asked.features)
        return TrialAnswer(prediction, control, Variant.CONTROL, fallback=True)

    async def _treated(
        self, running: RunningExperiment, metadata: ModelMetadata | None, asked: Asked
    ) -> Prediction | None:
        """Return treatment's answer; None where it gave none in time, which is recorded."""
        if metadata is None:
            self._record(running, Variant.TREATMENT, asked, error=NOT_SERVED)
            return None
        if not self._breakers.allows(running.experiment_id):
            self._record(running, Variant.TREATMENT, asked, error=CIRCUIT_OPEN)
            return None
        try:
            return await self._measured(
                running, Variant.TREATMENT, metadata, asked, self._treatment_timeout_s
            )
        except InvalidFeaturesError:
            raise
        except ServingError as error:
            logger.info("%s: treatment failed: %s", running.experiment_id, error)
            return None

    async def _shadow(
        self, running: RunningExperiment, metadata: ModelMetadata | None, asked: Asked
    ) -> None:
        """Have treatment answer a request that control answers; nobody waits for it."""
        try:
            await self._treated(running, metadata, asked)
        except InvalidFeaturesError:
            return  # control has told the bot

    async def _measured(
        self,
        running: RunningExperiment,
        variant: Variant,
        metadata: ModelMetadata,
        asked: Asked,
        timeout_s: float | None = None,
    ) -> Prediction:
        """Return an arm's answer and record it, or its error."""
        treats = variant is Variant.TREATMENT
        try:
            async with asyncio.timeout(timeout_s):
                prediction = await self._run(metadata, asked.features)
        except InvalidFeaturesError:
            raise  # the request's fault, not the arm's
        except (ServingError, TimeoutError) as error:
            failure = (
                error
                if isinstance(error, ServingError)
                else OverloadedError(
                    metadata.name, metadata.version, f"no answer within {timeout_s} s"
                )
            )
            if treats:
                self._breakers.note(running.experiment_id, succeeded=False)
            self._record(running, variant, asked, error=code_of(failure))
            raise failure from None
        if treats:
            self._breakers.note(running.experiment_id, succeeded=True)
        self._record(running, variant, asked, prediction)
        return prediction

    def _record(
        self,
        running: RunningExperiment,
        variant: Variant,
        asked: Asked,
        prediction: Prediction | None = None,
        error: str | None = None,
    ) -> None:
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
                latency_ms=(time.perf_counter() - asked.received_s) * 1e3,
                experiment_id=running.experiment_id,
                variant=variant,
                treatment_share=None if running.mirrors else running.treatment_share,
                mirrored=running.mirrors,
                error=error,
                **answered,  # type: ignore[arg-type]
            )
        )
