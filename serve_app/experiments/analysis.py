"""The analysis of an experiment at one time, computed from summaries alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.experiments.analysis_document import analysis_document
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.decision import (
    Evidence,
    Recommendation,
    UnitCount,
    decide,
    one_sided_alpha,
)
from serve_app.experiments.definition import (
    UNIT_ASSIGNMENTS,
    ExperimentDefinition,
    ExperimentStatus,
)
from serve_app.experiments.effects import accuracy_effect
from serve_app.experiments.guardrails import error_guardrail, latency_guardrail
from serve_app.experiments.outcome_ratio import check_outcomes
from serve_app.experiments.recent_traffic import Window, with_recent
from serve_app.experiments.records import Variant
from serve_app.experiments.sample_ratio import check_sample_ratio
from serve_app.experiments.significance import accuracy_significance
from serve_app.experiments.table import Table, tabulate
from serve_app.experiments.units import VARIANTS


@dataclass(frozen=True, slots=True)
class Analysis:
    """The results of an experiment at one time."""

    document: Mapping[str, Any]
    """The analysis document of the HTTP API, JSON values only."""
    evidence: Evidence
    recommendation: Recommendation


def analyse(
    definition: ExperimentDefinition,
    clock: BlockClock,
    blocks: Sequence[Block],
    *,
    status: ExperimentStatus = ExperimentStatus.RUNNING,
    at_planned_end: bool = False,
    recent: Sequence[Window] | None = None,
) -> Analysis:
    """Analyse an experiment; any number of interim looks at any time is valid.

    Args:
        definition: the experiment.
        clock: the experiment's clock.
        blocks: its summaries, in any order, each block once.
        status: its current status.
        at_planned_end: true in one analysis only, which is made at the end of the planned duration
            and stored. Only this analysis uses the fixed-horizon test, and not where bots or
            symbols are assigned.
        recent: windows of the last minute, in which harm that begins late is detected.
    """
    table = tabulate(definition, clock, blocks)
    alpha = one_sided_alpha(definition)
    guardrails = (
        latency_guardrail(definition, table, alpha),
        error_guardrail(definition, table, alpha),
    )
    if recent is not None:
        guardrails = with_recent(definition, guardrails, recent, alpha)
    evidence = Evidence(
        control_labelled=table.control.total.labelled,
        treatment_labelled=table.treatment.total.labelled,
        sample_ratio=check_sample_ratio(definition, table),
        accuracy=accuracy_significance(
            definition, accuracy_effect(definition, table), at_planned_end=at_planned_end
        ),
        latency=guardrails[0],
        errors=guardrails[1],
        units=_units(definition, table),
        outcomes=check_outcomes(definition, table.units),
    )
    recommendation = decide(definition, evidence)
    document = analysis_document(definition, status, table, evidence, recommendation)
    return Analysis(document, evidence, recommendation)


def _units(definition: ExperimentDefinition, table: Table) -> dict[Variant, UnitCount]:
    """Return the counts of units by variant, if units are assigned."""
    if definition.assignment not in UNIT_ASSIGNMENTS:
        return {}
    totals = table.units
    counts = zip(totals.seen, totals.labelled, totals.moments.effective, strict=True)
    return {
        variant: UnitCount(seen=seen, labelled=labelled, effective=float(effective))
        for variant, (seen, labelled, effective) in zip(VARIANTS, counts, strict=True)
    }
