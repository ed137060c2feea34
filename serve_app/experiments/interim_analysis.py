"""The analysis of an experiment that is still running, with the traffic of its last minute."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from serve_app.experiments.analysis import Analysis, analyse
from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import ExperimentStatus
from serve_app.experiments.history import StoredExperiment
from serve_app.experiments.recent_traffic import Window


@dataclass(frozen=True, slots=True)
class InterimAnalysis:
    """An analysis, and treatment's traffic in the current exposure step."""

    analysis: Analysis
    treatment_predictions: int
    """The number of treatment's predictions since the exposure step began, failed ones included."""


def analyse_interim(
    experiment: StoredExperiment,
    blocks: Sequence[Block],
    recent: Sequence[Window],
    exposed_at: datetime,
    *,
    status: ExperimentStatus = ExperimentStatus.RUNNING,
    at_planned_end: bool = False,
) -> InterimAnalysis:
    """Analyse an experiment and count treatment's predictions since its exposure step began.

    Args:
        experiment: the experiment as stored.
        blocks: its summaries, in any order, each block once.
        recent: the windows of the last minute.
        exposed_at: the start of the current exposure step.
        status: the experiment's status in the analysis.
        at_planned_end: see `analyse`.
    """
    clock = experiment.clock
    analysis = analyse(
        experiment.definition,
        clock,
        blocks,
        status=status,
        at_planned_end=at_planned_end,
        recent=recent,
    )
    # A block that began before the step also holds predictions of the previous step, so it is left
    # out.
    treatment_predictions = sum(
        block.treatment.predictions
        for block in blocks
        if clock.start_s(block.block) >= exposed_at.timestamp()
    )
    return InterimAnalysis(analysis, treatment_predictions)
