"""The analysis as one document of JSON values; an unknown value is null.

docs/guides/experiments.md describes its fields.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from serve_app.experiments.decision import Evidence, Recommendation, adjusted_harms
from serve_app.experiments.definition import (
    SERVED,
    UNIT_ASSIGNMENTS,
    ExperimentDefinition,
    ExperimentStatus,
    Mode,
)
from serve_app.experiments.effects import accuracy_effect, return_effect
from serve_app.experiments.guardrails import Guardrail
from serve_app.experiments.power import planned_samples, planned_weight
from serve_app.experiments.sample_ratio import SampleRatio
from serve_app.experiments.significance import Significance
from serve_app.experiments.statistics import fixed_horizon, sharpe
from serve_app.experiments.statistics.by_unit import FEWEST_UNITS, sharpe_by_unit
from serve_app.experiments.statistics.effect import Effect
from serve_app.experiments.statistics.fixed_horizon import FixedTest
from serve_app.experiments.statistics.sequential import Moments
from serve_app.experiments.table import Table
from serve_app.experiments.variant_metrics import VariantMetrics, return_moments, variant_metrics

VALIDITY = "at the planned end only, and only for independent predictions"
VALIDITY_BY_UNIT = (
    "at the planned end only, and too narrow if a few very active units dominate a variant; not "
    "part of the verdict"
)


def analysis_document(
    definition: ExperimentDefinition,
    status: ExperimentStatus,
    table: Table,
    evidence: Evidence,
    recommendation: Recommendation,
) -> Mapping[str, Any]:
    """Return the analysis document of an experiment."""
    control = variant_metrics(table.control.total, definition.annual_periods)
    treatment = variant_metrics(table.treatment.total, definition.annual_periods)
    return {
        "experiment_id": definition.experiment_id,
        "status": status.value,
        "duration_hours": definition.duration_hours,
        "control": {"model": definition.control, **asdict(control)},
        "treatment": {"model": definition.treatment, **asdict(treatment)},
        "improvement": _improvement(control, treatment),
        "statistical_significance": _significance(definition, table, evidence.accuracy),
        "sample_ratio": _sample_ratio(evidence.sample_ratio),
        "units": _unit_counts(definition, evidence),
        "recommendation": {
            "action": recommendation.action.value,
            "reasons": list(recommendation.reasons),
        },
        "guardrails": _guardrails(definition, evidence),
        "returns": _returns(definition, table),
        "annualisation": _annualisation(definition),
    }


def _unit_counts(definition: ExperimentDefinition, evidence: Evidence) -> dict[str, Any] | None:
    if not evidence.units:
        return None
    variants = {variant.value: asdict(units) for variant, units in evidence.units.items()}
    outcomes = evidence.outcomes
    return {
        "served": SERVED[definition.assignment],
        **variants,
        "needed": FEWEST_UNITS,
        "outcomes_each": None
        if outcomes is None
        else {**asdict(outcomes), "healthy": outcomes.healthy},
    }


def _improvement(control: VariantMetrics, treatment: VariantMetrics) -> dict[str, float | None]:
    both = control.labelled and treatment.labelled
    return {
        "accuracy": treatment.accuracy - control.accuracy if both else 0.0,
        "avg_return": treatment.avg_return - control.avg_return if both else 0.0,
        "sharpe_ratio": _less(treatment.sharpe_ratio, control.sharpe_ratio),
        "latency_ms": _less(treatment.avg_latency_ms, control.avg_latency_ms),
        "error_rate": treatment.error_rate - control.error_rate,
    }


def _less(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _significance(
    definition: ExperimentDefinition, table: Table, accuracy: Significance
) -> dict[str, Any]:
    over = "blocks of time"
    if definition.assignment in UNIT_ASSIGNMENTS:
        over = f"{SERVED[definition.assignment]} and {over}"
    return {
        "test": f"always-valid mixture test of the difference in accuracy, over {over}",
        "significant": accuracy.significant,
        "p_value": accuracy.p_value,
        "confidence_level": definition.confidence_level,
        "interval": None if accuracy.interval is None else list(accuracy.interval),
        "difference": accuracy.difference,
        "standard_error": accuracy.standard_error,
        "valid": "at any time, with any number of interim looks",
        "at_planned_end": accuracy.at_planned_end,
        "planned_samples": round(planned_samples(definition)),
        "blocks": table.blocks,
        "block_s": table.block_s,
        "horizon_s": table.horizon_s,
        "assumptions": _assumptions(definition, table),
        "fixed_horizon": _fixed_horizon(definition, table),
    }


def _fixed_horizon(definition: ExperimentDefinition, table: Table) -> dict[str, Any]:
    """Return the ordinary tests: over predictions, or over units where units are assigned."""
    tests: dict[str, Any] = {
        "valid": VALIDITY,
        "accuracy_two_proportion": None,
        "avg_return_welch": None,
        "accuracy_by_unit": None,
        "avg_return_by_unit": None,
    }
    if definition.assignment in UNIT_ASSIGNMENTS:
        return tests | {
            "valid": VALIDITY_BY_UNIT,
            "accuracy_by_unit": _fixed_effect(definition, accuracy_effect(definition, table)),
            "avg_return_by_unit": _fixed_effect(definition, return_effect(definition, table)),
        }
    control, treatment = table.control.total, table.treatment.total
    two_proportion = fixed_horizon.two_proportion(
        control.correct, control.labelled, treatment.correct, treatment.labelled, definition.alpha
    )
    welch = fixed_horizon.welch(
        return_moments(control), return_moments(treatment), definition.alpha
    )
    return tests | {
        "accuracy_two_proportion": _fixed(two_proportion),
        "avg_return_welch": _fixed(welch),
    }


def _fixed_effect(definition: ExperimentDefinition, effect: Effect) -> dict[str, Any] | None:
    if not effect.known:
        return None
    half_width = effect.fixed_half_width(definition.alpha)
    return {
        "difference": effect.value,
        "interval": [effect.value - half_width, effect.value + half_width],
        "p_value": effect.fixed_p_value(),
    }


def _assumptions(definition: ExperimentDefinition, table: Table) -> str:
    """Return the assumptions of the interval as text."""
    if table.horizon_s is None:
        horizon = "No outcome has arrived yet."
    elif definition.horizon_s is None:
        horizon = (
            f"horizon_s was not stated, so the mean delay of an outcome, {table.horizon_s:.3g} s, "
            f"is used instead. If positions are held longer, the interval is too narrow."
        )
    else:
        horizon = f"Positions are held for {table.horizon_s:g} s."
    neighbours = ", including the covariance of neighbouring blocks" if table.neighbours else ""
    blocks = (
        f" Predictions within {table.block_s:g} s may depend on each other: the standard error is "
        f"computed over blocks of this length{neighbours}."
    )
    if definition.assignment not in UNIT_ASSIGNMENTS:
        return horizon + blocks
    served = SERVED[definition.assignment]
    return (
        f"{horizon}{blocks} The variants serve different {served}, so the standard error is also "
        f"computed over {served} and includes their differences. The verdict uses the "
        f"always-valid test alone, at the planned end too. Latency and errors are compared by time "
        f"alone."
    )


def _fixed(test: FixedTest | None) -> dict[str, Any] | None:
    if test is None:
        return None
    return {
        "difference": test.difference,
        "interval": list(test.interval),
        "p_value": test.p_value,
    }


def _sample_ratio(ratio: SampleRatio) -> dict[str, Any]:
    observed = ratio.observed_share
    return {
        "expected": {"control": 1 - ratio.expected_share, "treatment": ratio.expected_share},
        "observed": {
            "control": None if observed is None else 1 - observed,
            "treatment": observed,
        },
        "counts": {"control": ratio.control, "treatment": ratio.treatment},
        "counted": ratio.counted,
        "p_value": ratio.p_value,
        "always_valid_p_value": ratio.always_valid_p_value,
        "healthy": ratio.healthy,
        "explanation": ratio.explanation,
    }


def _guardrails(definition: ExperimentDefinition, evidence: Evidence) -> list[dict[str, Any]]:
    adjusted = adjusted_harms(definition, evidence)
    return [
        _guardrail(guardrail, adjusted[guardrail.name])
        for guardrail in (evidence.latency, evidence.errors)
    ]


def _guardrail(guardrail: Guardrail, adjusted_p_value: float) -> dict[str, Any]:
    known = guardrail.worst_case != float("inf")
    return {
        "name": guardrail.name,
        "control": guardrail.control,
        "treatment": guardrail.treatment,
        "limit": guardrail.limit,
        "harm_p_value": guardrail.harm_p_value,
        "shown_by": asdict(guardrail.shown_by),
        "adjusted_harm_p_value": adjusted_p_value,
        "worst_case_difference": guardrail.worst_case if known else None,
        "held": guardrail.held,
    }


def _returns(definition: ExperimentDefinition, table: Table) -> dict[str, Any]:
    """Return the always-valid difference in return, and the difference in Sharpe ratio, which is
    valid at the planned end.
    """
    effect = return_effect(definition, table)
    alpha = definition.alpha
    half_width = effect.sequential_half_width(planned_weight(definition), alpha)
    known = half_width != float("inf")
    return {
        "difference": effect.value,
        "interval": [effect.value - half_width, effect.value + half_width] if known else None,
        "p_value": effect.sequential_p_value(planned_weight(definition), alpha),
        "sharpe_difference": _sharpe_difference(definition, table),
    }


def _sharpe_difference(definition: ExperimentDefinition, table: Table) -> dict[str, Any] | None:
    effect: Effect | None
    valid = "at the planned end only"
    if definition.assignment in UNIT_ASSIGNMENTS:
        effect = Effect.of(sharpe_by_unit(table.units.moments))
        over, valid = SERVED[definition.assignment], VALIDITY_BY_UNIT
    else:
        effect = sharpe.difference(
            table.control.returns, table.treatment.returns, neighbours=table.neighbours
        )
        over = "blocks of time"
    if effect is None or not effect.known:
        return None
    yearly = (definition.annual_periods or 1.0) ** 0.5
    return {
        "difference": effect.value * yearly,
        "standard_error": effect.standard_error * yearly,
        "p_value": effect.fixed_p_value(),
        "test": f"Ledoit and Wolf (2008), standard error over {over}",
        "valid": valid,
        "jobson_korkie_memmel": _paired_sharpe(definition, table),
    }


def _paired_sharpe(definition: ExperimentDefinition, table: Table) -> dict[str, Any] | None:
    if definition.mode is not Mode.MIRROR:
        return None
    pairs = table.pairs.total
    control, treatment = (
        Moments(n=pairs.labelled, total=total, square_total=square_total)
        for total, square_total in (
            (pairs.control_return_sum, pairs.control_return_square_sum),
            (pairs.treatment_return_sum, pairs.treatment_return_square_sum),
        )
    )
    test = sharpe.of_pairs(control, treatment, pairs.return_product_sum)
    if test is None:
        return None
    return {"z": test.z, "p_value": test.p_value, "valid": VALIDITY}


def _annualisation(definition: ExperimentDefinition) -> dict[str, Any]:
    periods = definition.annual_periods
    if periods is None:
        basis = (
            "Sharpe ratios are per prediction: neither horizon_s nor periods_per_year was stated"
        )
    elif definition.periods_per_year is not None:
        basis = f"Sharpe ratios are multiplied by the square root of periods_per_year, {periods:g}"
    else:
        basis = (
            f"Sharpe ratios are multiplied by the square root of {periods:g}, the number of "
            f"horizons of {definition.horizon_s:g} s in a year of 365.25 days"
        )
    return {"periods_per_year": periods, "basis": basis}
