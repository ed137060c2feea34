"""The recommendation: promote, roll back or continue, with its reasons and their numbers.

Without an effect the probability of a promotion is at most alpha / 2, and so is that of a rollback,
at any number of interim looks. A rollback needs one of three significant harms (Holm's correction
for three hypotheses); a promotion needs all of its conditions at once, for which no correction is
necessary (intersection-union test, Berger 1982).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from serve_app.experiments.definition import SERVED, ExperimentDefinition
from serve_app.experiments.guardrails import Comparison, Guardrail
from serve_app.experiments.outcome_ratio import OutcomeRatio
from serve_app.experiments.records import Variant
from serve_app.experiments.sample_ratio import SampleRatio
from serve_app.experiments.significance import Significance
from serve_app.experiments.statistics.by_unit import FEWEST_UNITS
from serve_app.experiments.statistics.multiple_testing import holm

SMALLEST_SHOWN = 1e-4
"""A smaller p-value is reported as "below" this: readers without statistics cannot read 4e-07."""

ROUNDING = 1e-9
"""Tolerance of the comparison between a difference in accuracy and its limit."""


class Action(StrEnum):
    """The recommended action for treatment."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCount:
    """The number of a variant's bots or symbols."""

    seen: int
    labelled: int
    """Number of those with an outcome."""
    effective: float
    """Number of equally active units that these are equivalent to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The results that a decision is based on."""

    control_labelled: int
    treatment_labelled: int
    sample_ratio: SampleRatio
    accuracy: Significance
    latency: Guardrail
    errors: Guardrail
    units: Mapping[Variant, UnitCount] = field(default_factory=dict)
    """The counts of both variants; empty unless bots or symbols are assigned."""
    outcomes: OutcomeRatio | None = None
    """The comparison of the outcomes per unit; None where it does not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The recommended action and its reasons."""

    action: Action
    reasons: tuple[str, ...]


def one_sided_alpha(definition: ExperimentDefinition) -> float:
    """Return the level of one guardrail, and of all harms together."""
    return definition.alpha / 2


def adjusted_harms(definition: ExperimentDefinition, evidence: Evidence) -> dict[str, float]:
    """Return the p-values of the three harms by name, corrected for their number (Holm)."""
    accuracy = evidence.accuracy
    tested = _enough(definition, evidence) and _complete(evidence) and accuracy.difference < 0
    return holm(
        {
            "accuracy": accuracy.p_value / 2 if tested else 1.0,
            "latency_ms": evidence.latency.harm_p_value,
            "error_rate": evidence.errors.harm_p_value,
        }
    )


def decide(definition: ExperimentDefinition, evidence: Evidence) -> Recommendation:
    """Return the recommended action for treatment, with its reasons."""
    if not evidence.sample_ratio.healthy:
        reason = _mismatch(evidence.sample_ratio)
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    harms = _harms(definition, evidence)
    if harms:
        return Recommendation(action=Action.ROLLBACK, reasons=tuple(harms))
    if not _enough(definition, evidence):
        reason = (
            f"Not enough labelled predictions: control has {evidence.control_labelled:,} and "
            f"treatment {evidence.treatment_labelled:,}; each variant needs "
            f"{definition.min_samples:,}."
        )
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    if any(units.effective < FEWEST_UNITS for units in evidence.units.values()):
        reason = _too_few_units(definition, evidence)
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    if not _complete(evidence):
        reason = _incomplete(definition, evidence)
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    conditions = [
        _improves(definition, evidence.accuracy),
        _is_significant(evidence.accuracy),
        _holds_latency(evidence.latency),
        _holds_errors(definition, evidence.errors),
    ]
    missing = tuple(reason for fulfilled, reason in conditions if not fulfilled)
    if not missing:
        reasons = tuple(reason for _, reason in conditions)
        return Recommendation(action=Action.PROMOTE, reasons=reasons)
    if evidence.accuracy.at_planned_end:
        missing = (*missing, "The planned end was reached without a verdict: control stays.")
    return Recommendation(action=Action.CONTINUE, reasons=missing)


def _enough(definition: ExperimentDefinition, evidence: Evidence) -> bool:
    fewest = min(evidence.control_labelled, evidence.treatment_labelled)
    return fewest >= definition.min_samples


def _complete(evidence: Evidence) -> bool:
    """Return whether the bots or symbols of both variants have equally many outcomes.

    If not, accuracy has no verdict, but latency and errors still do.
    """
    return evidence.outcomes is None or evidence.outcomes.healthy


def _incomplete(definition: ExperimentDefinition, evidence: Evidence) -> str:
    outcomes, served = evidence.outcomes, SERVED[definition.assignment]
    assert outcomes is not None
    return (
        f"No verdict on accuracy: control's {served} have {outcomes.control:,.1f} outcomes each on "
        f"average and treatment's {outcomes.treatment:,.1f} "
        f"({_p(outcomes.always_valid_p_value)}). Single requests or outcomes are lost, or a "
        f"version makes its {served} send more or fewer requests; find the cause first."
    )


def _too_few_units(definition: ExperimentDefinition, evidence: Evidence) -> str:
    served = SERVED[definition.assignment]
    variants = ", ".join(
        f"{variant} has {units.labelled:,} with an outcome, equivalent to {units.effective:.1f} "
        f"equally active ones"
        for variant, units in evidence.units.items()
    )
    return (
        f"Too few {served}: {variants}; each variant needs {FEWEST_UNITS:g}. Whole {served} are "
        f"assigned, and how much they differ by chance can only be measured with several of them."
    )


def _mismatch(ratio: SampleRatio) -> str:
    observed = ratio.observed_share or 0.0
    p_value = ratio.always_valid_p_value
    chance = "" if p_value is None else f" ({_p(p_value)})"
    return (
        f"No verdict: treatment has {ratio.treatment:,} of {ratio.control + ratio.treatment:,} "
        f"{ratio.counted}, {observed:.2%} instead of the intended {ratio.expected_share:.2%}"
        f"{chance}. Requests are lost or misdirected; no number here is reliable until the cause "
        f"is found."
    )


def _harms(definition: ExperimentDefinition, evidence: Evidence) -> list[str]:
    adjusted = adjusted_harms(definition, evidence)
    significant = {name for name, p in adjusted.items() if p <= one_sided_alpha(definition)}
    latency, errors, accuracy = evidence.latency, evidence.errors, evidence.accuracy
    reasons = []
    if "latency_ms" in significant:
        seen = latency.shown_by
        reasons.append(
            f"Treatment is too slow{_when(seen)}: {seen.treatment:.2f} ms on average against "
            f"{seen.control:.2f} ms, and {seen.difference:.2f} ms more at the same times; it is "
            f"significantly more than {latency.limit:.2f} ms slower "
            f"({_p(adjusted['latency_ms'])})."
        )
    if "error_rate" in significant:
        seen = errors.shown_by
        reasons.append(
            f"Treatment fails too often{_when(seen)}: {seen.treatment:.2%} of its predictions "
            f"against {seen.control:.2%}, and {_points(seen.difference)} more at the same times; "
            f"it fails significantly more than {errors.limit:g} times as often "
            f"({_p(adjusted['error_rate'])})."
        )
    served = SERVED.get(definition.assignment)
    if reasons and served is not None:
        reasons.append(
            f"Latency and errors are compared by time, not between {served}: check whether a few "
            f"of them are the cause."
        )
    if "accuracy" in significant and accuracy.difference < -definition.max_accuracy_drop - ROUNDING:
        reasons.append(
            f"Treatment's accuracy is {_points(-accuracy.difference)} lower, more than the allowed "
            f"{_number(definition.max_accuracy_drop)}, and the difference is significant "
            f"({_p(adjusted['accuracy'])})."
        )
    return reasons


def _number(share: float, sign: str = "") -> str:
    return f"{100 * share:{sign}.2f}"


def _points(share: float, sign: str = "") -> str:
    return f"{_number(share, sign)} percentage points"


def _p(p_value: float) -> str:
    return f"p = {p_value:.2g}" if p_value >= SMALLEST_SHOWN else f"p below {SMALLEST_SHOWN:.4f}"


def _when(seen: Comparison) -> str:
    return " during the last minute" if seen.recent else ""


def _improves(definition: ExperimentDefinition, accuracy: Significance) -> tuple[bool, str]:
    difference, wanted = accuracy.difference, definition.min_accuracy_improvement
    if difference >= wanted - ROUNDING:
        return True, (
            f"Accuracy is {_points(difference)} higher; a promotion requires {_number(wanted)}."
        )
    return False, (
        f"Accuracy is only {_points(difference)} higher; a promotion requires {_number(wanted)}."
        if difference >= 0
        else f"Accuracy is {_points(-difference)} lower; a promotion requires {_number(wanted)} "
        f"higher."
    )


def _is_significant(accuracy: Significance) -> tuple[bool, str]:
    if accuracy.interval is None:
        return False, (
            "Whether the difference is significant is not known yet: there are too few labelled "
            "predictions, or they span too few blocks of time."
        )
    low, high = accuracy.interval
    facts = (
        f"the true difference lies between {_number(low, '+')} and {_points(high, '+')} "
        f"({_p(accuracy.p_value)})"
    )
    if accuracy.significant and accuracy.difference > 0:
        return True, f"The difference is significant: {facts}."
    if accuracy.significant:
        return False, f"Treatment is significantly worse: {facts}."
    return False, f"The difference is not significant: {facts}."


def _holds_latency(latency: Guardrail) -> tuple[bool, str]:
    if latency.held:
        return True, (
            f"Latency is within its limit: at worst {latency.worst_case:+.2f} ms compared to "
            f"control, and {latency.limit:.2f} ms are allowed."
        )
    return False, (
        f"It is not certain yet that treatment is less than {latency.limit:.2f} ms slower"
        f"{_at_worst(latency.worst_case, f'{latency.worst_case:+.2f} ms')}."
    )


def _holds_errors(definition: ExperimentDefinition, errors: Guardrail) -> tuple[bool, str]:
    allowed = definition.max_error_rate_increase
    if errors.held:
        return True, (
            f"The error rate is within its limit: at worst {_points(errors.worst_case, '+')} "
            f"compared to control, and {_number(allowed)} are allowed."
        )
    return False, (
        f"It is not certain yet that treatment's error rate is less than {_points(allowed)} above "
        f"control's{_at_worst(errors.worst_case, _points(errors.worst_case, '+'))}."
    )


def _at_worst(value: float, text: str) -> str:
    return "" if value == float("inf") else f": at worst {text}"
