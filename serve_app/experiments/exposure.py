"""Growing exposure: decides when treatment's share moves to the next step."""

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.experiments.decision import Action, Evidence, Recommendation
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.running import RunningExperiment


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureStep:
    """The current exposure step: treatment's share and the traffic since it was set."""

    share: float
    age_s: float
    treatment_predictions: int
    """Number of treatment's predictions during this step, failed ones included."""


def next_share(
    definition: ExperimentDefinition,
    step: ExposureStep,
    evidence: Evidence,
    recommendation: Recommendation,
    *,
    breaker_closed: bool,
) -> float:
    """Return treatment's share from now on: that of the next step, or the current one.

    The next step begins when the current one has lasted `exposure_step_hours` and treatment has
    received `min_samples` predictions in it, the sample ratio is healthy, the point estimates of
    both guardrails are within their limits, the recommendation is no rollback, and the circuit
    breaker is closed.
    """
    larger = [share for share in definition.exposure_steps if share > step.share]
    ready = (
        step.age_s >= definition.exposure_step_hours * 3600
        and step.treatment_predictions >= definition.min_samples
        and evidence.sample_ratio.healthy
        and evidence.latency.within_limit
        and evidence.errors.within_limit
        and recommendation.action is not Action.ROLLBACK
        and breaker_closed
    )
    return min(larger) if larger and ready else step.share


def with_recorded_exposure(
    experiment: StoredExperiment, history: Sequence[HistoryEntry]
) -> RunningExperiment:
    """Return the running experiment with the treatment share of its last recorded exposure step.

    Args:
        experiment: the experiment as stored.
        history: its history, oldest entry first.
    """
    share, exposed_at = experiment.definition.first_share, experiment.started_at
    for entry in history:
        if entry.action == "exposed":
            share, exposed_at = entry.details["share"], entry.time
    return RunningExperiment(
        definition=experiment.definition, treatment_share=share, exposed_at=exposed_at
    )
