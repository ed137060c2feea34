"""How treatment's share grows, stage by stage."""

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.experiments.decision import Action, Evidence, Recommendation
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.running import RunningExperiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What happened since treatment got its present share."""

    share: float
    age_s: float
    treatment_predictions: int
    """Answered and failed, during this stage."""


def next_share(
    definition: ExperimentDefinition,
    stage: Stage,
    evidence: Evidence,
    recommendation: Recommendation,
    *,
    breaker_closed: bool,
) -> float:
    """Return treatment's share from now on: the next stage's, or the present one.

    The next stage begins when this one has lasted `stage_hours` and gave treatment `min_samples`
    predictions, the sample ratio is healthy, both guardrails are within their limits as the numbers
    stand, nothing calls for a rollback, and the circuit breaker is closed.
    """
    larger = [share for share in definition.exposure_stages if share > stage.share]
    ready = (
        stage.age_s >= definition.stage_hours * 3600
        and stage.treatment_predictions >= definition.min_samples
        and evidence.sample_ratio.healthy
        and evidence.latency.looks_fine
        and evidence.errors.looks_fine
        and recommendation.action is not Action.ROLLBACK
        and breaker_closed
    )
    return min(larger) if larger and ready else stage.share


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
