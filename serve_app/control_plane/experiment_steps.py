"""The next step of a running experiment, as a pure function of what is known about it.

    running ──► Analyse ──► ObserveBreaker ──► Expose
                   │              │
                   │              └──► BeginPromotion ──► ReadProduction ──► Promote ──► Reload
                   ▼                                            │                          │
                  End ◄─────────────────────────────────────────┴──────────────────────────┘

A step that observes something adds it to the situation, from which the next step follows. A
promotion is recorded before it begins, so that after a crash it continues from there, and a second
analysis cannot reach another verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serve_app.experiments.analysis import Analysis
from serve_app.experiments.decision import Action
from serve_app.experiments.definition import EndReason
from serve_app.experiments.exposure import ExposureStep, next_share
from serve_app.experiments.history import StoredExperiment
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.running import RunningExperiment


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due now."""


@dataclass(frozen=True, slots=True)
class Analyse:
    """Analyse the experiment."""

    exposed_at: datetime
    at_planned_end: bool = False


@dataclass(frozen=True, slots=True)
class ObserveBreaker:
    """Observe whether a router withholds traffic from treatment."""


@dataclass(frozen=True, slots=True)
class Expose:
    """Give treatment another share of the traffic."""

    share: float


@dataclass(frozen=True, slots=True)
class BeginPromotion:
    """Record that treatment is to be promoted."""

    verdict: Mapping[str, Any]
    """The analysis document that the promotion is based on."""


@dataclass(frozen=True, slots=True)
class ReadProduction:
    """Read which version the registry has in production."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Promote treatment in the registry."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Move production's traffic to treatment."""


@dataclass(frozen=True, slots=True)
class End:
    """Stop treatment's traffic and record the end."""

    reason: EndReason
    action: str
    """The action recorded in the history."""
    document: Mapping[str, Any] | None = None
    """The final analysis; None if it is to be computed once the traffic has stopped."""


Step = (
    Wait
    | Analyse
    | ObserveBreaker
    | Expose
    | BeginPromotion
    | ReadProduction
    | Promote
    | Reload
    | End
)


@dataclass(frozen=True, slots=True)
class Production:
    """The version that the registry has in production, None if there is none."""

    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known about a running experiment; None for what has not been observed."""

    experiment: StoredExperiment
    now: datetime
    running: RunningExperiment | None
    """The experiment as the routers follow it; None while it splits no traffic."""
    ending: End | None = None
    """An end in progress, which is not recorded yet."""
    promotion: Mapping[str, Any] | None = None
    """The analysis document of a promotion in progress."""
    analysis: InterimAnalysis | None = None
    breaker_closed: bool | None = None
    production: Production | None = None
    reloaded: bool = False

    @property
    def age_s(self) -> float:
        """Return the time since the experiment started."""
        return (self.now - self.experiment.started_at).total_seconds()

    @property
    def is_over(self) -> bool:
        """Return whether its planned duration has passed."""
        return self.age_s >= self.experiment.definition.duration_s


def next_step(situation: Situation) -> Step:
    """Return the step that is due now."""
    definition = situation.experiment.definition
    if situation.ending is not None:
        return situation.ending
    if definition.auto_apply and situation.promotion is not None:
        return _step_of_promotion(situation, situation.promotion)
    if situation.is_over:
        return _step_at_planned_end(situation)
    if not definition.auto_apply and not definition.exposure_steps:
        return Wait()
    if situation.running is None:
        return Wait()
    if situation.analysis is None:
        return Analyse(situation.running.exposed_at)
    return _step_while_running(situation, situation.running, situation.analysis)


def _step_while_running(
    situation: Situation, running: RunningExperiment, interim: InterimAnalysis
) -> Step:
    definition = situation.experiment.definition
    action = interim.analysis.recommendation.action
    if definition.auto_apply and action is Action.ROLLBACK:
        return _rollback(interim.analysis)
    if action is not Action.PROMOTE and not definition.exposure_steps:
        return Wait()
    if situation.breaker_closed is None:
        return ObserveBreaker()
    if action is Action.PROMOTE:
        if not situation.breaker_closed:
            # Treatment is failing; once promoted it would have no fallback.
            return Wait()
        if definition.auto_apply:
            return BeginPromotion(verdict_document(interim.analysis))
    step = ExposureStep(
        share=running.treatment_share,
        age_s=(situation.now - running.exposed_at).total_seconds(),
        treatment_predictions=interim.treatment_predictions,
    )
    share = next_share(
        definition,
        step,
        interim.analysis.evidence,
        interim.analysis.recommendation,
        breaker_closed=situation.breaker_closed,
    )
    return Wait() if share == running.treatment_share else Expose(share)


def _step_at_planned_end(situation: Situation) -> Step:
    definition = situation.experiment.definition
    # The outcomes of the last predictions arrive one horizon after the traffic has ended.
    if situation.age_s < definition.duration_s + (definition.horizon_s or 0.0):
        return Wait()
    if situation.analysis is None:
        return Analyse(situation.now, at_planned_end=True)
    analysis = situation.analysis.analysis
    if definition.auto_apply and analysis.recommendation.action is Action.ROLLBACK:
        return _rollback(analysis)
    if definition.auto_apply and analysis.recommendation.action is Action.PROMOTE:
        return BeginPromotion(verdict_document(analysis))
    return End(EndReason.DURATION, "ended", analysis.document)


def _step_of_promotion(situation: Situation, verdict: Mapping[str, Any]) -> Step:
    """Return the next step of a promotion, which never undoes a later promotion by an operator."""
    definition = situation.experiment.definition
    treatment = definition.treatment_model_version
    if situation.production is None:
        return ReadProduction()
    version = situation.production.version
    if version not in (definition.control_model_version, treatment):
        reason = (
            f"Not promoted: treatment was compared with {definition.control}, but production of "
            f"{definition.treatment_model_name} is {version or 'nothing'} now."
        )
        return End(EndReason.SUPERSEDED, "superseded", _with_reason(verdict, reason))
    if version != treatment:
        return Promote(" ".join(verdict["recommendation"]["reasons"]))
    if not situation.reloaded:
        return Reload()
    return End(EndReason.PROMOTED, "promoted", verdict)


def verdict_document(analysis: Analysis) -> Mapping[str, Any]:
    """Return the analysis document with the recommendation that is applied."""
    recommendation = analysis.recommendation
    applied = {"action": recommendation.action.value, "reasons": list(recommendation.reasons)}
    return {**analysis.document, "recommendation": applied}


def _rollback(analysis: Analysis) -> End:
    return End(EndReason.ROLLED_BACK, "rolled_back", analysis.document)


def _with_reason(verdict: Mapping[str, Any], reason: str) -> Mapping[str, Any]:
    recommendation = verdict["recommendation"]
    reasons = [*recommendation["reasons"], reason]
    return {**verdict, "recommendation": {**recommendation, "reasons": reasons}}
