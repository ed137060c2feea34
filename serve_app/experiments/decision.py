"""Promote, roll back or go on, and why, in sentences that hold the numbers.

With no effect a promotion has probability alpha / 2 at most, and a rollback too, however often one
looks. A rollback needs one of three harms shown (Holm's correction for three); a promotion needs
all of its conditions at once, which needs no correction (intersection-union, Berger 1982).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from serve_app.experiments.definition import SERVED, ExperimentDefinition
from serve_app.experiments.guardrails import Comparison, Guardrail, holm
from serve_app.experiments.outcome_ratio import OutcomeRatio
from serve_app.experiments.records import Variant
from serve_app.experiments.sample_ratio import SampleRatio
from serve_app.experiments.significance import Significance
from serve_app.experiments.statistics.by_unit import FEWEST_UNITS

SMALLEST_SHOWN = 1e-4
"""Nobody who knows no statistics reads 4e-07."""

ROUNDING = 1e-9
"""A difference in accuracy this close to what is asked for, or allowed, is that."""


class Action(StrEnum):
    """What to do with treatment."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCount:
    """A variant's bots or symbols."""

    seen: int
    labelled: int
    """Those with an outcome."""
    effective: float
    """Of how many equally busy ones these are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a decision rests on."""

    control_labelled: int
    treatment_labelled: int
    sample_ratio: SampleRatio
    accuracy: Significance
    latency: Guardrail
    errors: Guardrail
    units: Mapping[Variant, UnitCount] = field(default_factory=dict)
    """Of both variants; empty unless bots or symbols are assigned."""
    outcomes: OutcomeRatio | None = None
    """How many outcomes these have; None where that cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to do, and why."""

    action: Action
    reasons: tuple[str, ...]


def one_sided_alpha(definition: ExperimentDefinition) -> float:
    """Return the level of a guardrail, and of all harms together."""
    return definition.alpha / 2


def adjusted_harms(definition: ExperimentDefinition, evidence: Evidence) -> dict[str, float]:
    """Return the p-values of the three harms by name, corrected for their number (Holm)."""
    accuracy = evidence.accuracy
    judged = _enough(definition, evidence) and _complete(evidence) and accuracy.difference < 0
    return holm(
        {
            "accuracy": accuracy.p_value / 2 if judged else 1.0,
            "latency_ms": evidence.latency.harm_p_value,
            "error_rate": evidence.errors.harm_p_value,
        }
    )


def decide(definition: ExperimentDefinition, evidence: Evidence) -> Recommendation:
    """Return what to do with treatment."""
    if not evidence.sample_ratio.healthy:
        reason = _mismatch(evidence.sample_ratio)
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    harms = _harms(definition, evidence)
    if harms:
        return Recommendation(action=Action.ROLLBACK, reasons=tuple(harms))
    if not _enough(definition, evidence):
        reason = (
            f"Not enough labelled predictions: control has {evidence.control_labelled:,} and "
            f"treatment {evidence.treatment_labelled:,}; each needs {definition.min_samples:,}."
        )
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    if any(each.effective < FEWEST_UNITS for each in evidence.units.values()):
        reason = _too_few_units(definition, evidence)
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    if not _complete(evidence):
        reason = _incomplete(definition, evidence)
        return Recommendation(action=Action.CONTINUE, reasons=(reason,))
    conditions = [
        _improves(definition, evidence.accuracy),
        _is_no_chance(evidence.accuracy),
        _is_fast_enough(evidence.latency),
        _fails_seldom_enough(definition, evidence.errors),
    ]
    missing = tuple(reason for fulfilled, reason in conditions if not fulfilled)
    if not missing:
        reasons = tuple(reason for _, reason in conditions)
        return Recommendation(action=Action.PROMOTE, reasons=reasons)
    if evidence.accuracy.at_planned_end:
        missing = (*missing, "The planned end has come without a verdict: control stays.")
    return Recommendation(action=Action.CONTINUE, reasons=missing)


def _enough(definition: ExperimentDefinition, evidence: Evidence) -> bool:
    fewest = min(evidence.control_labelled, evidence.treatment_labelled)
    return fewest >= definition.min_samples


def _complete(evidence: Evidence) -> bool:
    """Return whether no variant's bots or symbols lack outcomes.

    A failing one may still be harm.
    """
    return evidence.outcomes is None or evidence.outcomes.healthy


def _incomplete(definition: ExperimentDefinition, evidence: Evidence) -> str:
    outcomes, served = evidence.outcomes, SERVED[definition.assignment]
    assert outcomes is not None
    return (
        f"No verdict on accuracy: control's {served} have {outcomes.control:,.1f} outcomes each on "
        f"average and treatment's {outcomes.treatment:,.1f} "
        f"({_chance(outcomes.always_valid_p_value)}). Single requests or outcomes are lost, or a "
        f"version makes its {served} ask more or less; find out which."
    )


def _too_few_units(definition: ExperimentDefinition, evidence: Evidence) -> str:
    served = SERVED[definition.assignment]
    variants = ", ".join(
        f"{variant} has {units.labelled:,} with an outcome, worth {units.effective:.1f} equally "
        f"busy ones"
        for variant, units in evidence.units.items()
    )
    return (
        f"Too few {served}: {variants}; each needs {FEWEST_UNITS:g}. Whole {served} were "
        f"assigned, and luck in which ones is only known from several."
    )


def _mismatch(ratio: SampleRatio) -> str:
    observed = ratio.observed_share or 0.0
    p_value = ratio.always_valid_p_value
    chance = "" if p_value is None else f" ({_chance(p_value)})"
    return (
        f"No verdict: treatment has {ratio.treatment:,} of {ratio.control + ratio.treatment:,} "
        f"{ratio.counted}, {observed:.2%}, where {ratio.expected_share:.2%} were intended{chance}. "
        f"Requests are lost or misdirected; no number here can be trusted until that is found."
    )


def _harms(definition: ExperimentDefinition, evidence: Evidence) -> list[str]:
    adjusted = adjusted_harms(definition, evidence)
    shown = {name for name, p in adjusted.items() if p <= one_sided_alpha(definition)}
    latency, errors, accuracy = evidence.latency, evidence.errors, evidence.accuracy
    reasons = []
    if "latency_ms" in shown:
        seen = latency.shown_by
        reasons.append(
            f"Treatment is too slow{_when(seen)}: {seen.treatment:.2f} ms on average against "
            f"{seen.control:.2f} ms, and {seen.difference:.2f} ms more at the same times; shown to "
            f"be more than {latency.limit:.2f} ms slower ({_chance(adjusted['latency_ms'])})."
        )
    if "error_rate" in shown:
        seen = errors.shown_by
        reasons.append(
            f"Treatment fails too often{_when(seen)}: {seen.treatment:.2%} of its predictions "
            f"against {seen.control:.2%}, and {seen.difference:.2%} more at the same times; shown "
            f"to be more than {errors.limit:g} times as often ({_chance(adjusted['error_rate'])})."
        )
    served = SERVED.get(definition.assignment)
    if reasons and served is not None:
        reasons.append(
            f"Latency and errors are compared by time, not between {served}: see whether a few of "
            f"these are behind it."
        )
    if "accuracy" in shown and accuracy.difference < -definition.max_accuracy_drop - ROUNDING:
        reasons.append(
            f"Treatment's accuracy is lower by {-accuracy.difference:.2%}, more than the allowed "
            f"{definition.max_accuracy_drop:.2%}, and that is more than chance "
            f"({_chance(adjusted['accuracy'])})."
        )
    return reasons


def _chance(p_value: float) -> str:
    return f"p = {p_value:.2g}" if p_value >= SMALLEST_SHOWN else f"p below {SMALLEST_SHOWN:.4f}"


def _when(seen: Comparison) -> str:
    return " during the last minute" if seen.recent else ""


def _improves(definition: ExperimentDefinition, accuracy: Significance) -> tuple[bool, str]:
    difference, wanted = accuracy.difference, definition.min_accuracy_improvement
    direction = "higher" if difference >= 0 else "lower"
    if difference >= wanted - ROUNDING:
        return True, (f"Accuracy is {difference:.2%} higher, at least the {wanted:.2%} asked for.")
    return False, (
        f"Accuracy is {abs(difference):.2%} {direction}; a promotion asks for {wanted:.2%} more."
    )


def _is_no_chance(accuracy: Significance) -> tuple[bool, str]:
    if accuracy.interval is None:
        return False, (
            "Whether that is chance cannot be said yet: the predictions span too few blocks of "
            "time, or too few predictions."
        )
    low, high = accuracy.interval
    facts = (
        f"the true difference lies between {low:+.2%} and {high:+.2%}, {_chance(accuracy.p_value)}"
    )
    if accuracy.significant and accuracy.difference > 0:
        return True, f"That is more than chance: {facts}."
    if accuracy.significant:
        return False, f"Treatment is worse, and that is more than chance: {facts}."
    return False, f"That may be chance: {facts}."


def _is_fast_enough(latency: Guardrail) -> tuple[bool, str]:
    if latency.held:
        return True, (
            f"Latency: at worst {latency.worst_case:+.2f} ms against control, within the "
            f"{latency.limit:.2f} ms allowed."
        )
    return False, (
        f"It is not shown yet that treatment is less than {latency.limit:.2f} ms slower"
        f"{_at_worst(latency.worst_case, '{:+.2f} ms')}."
    )


def _fails_seldom_enough(definition: ExperimentDefinition, errors: Guardrail) -> tuple[bool, str]:
    allowed = definition.max_error_rate_increase
    if errors.held:
        return True, (
            f"Errors: at worst {errors.worst_case:+.2%} against control, within the "
            f"{allowed:.2%} allowed."
        )
    return False, (
        f"It is not shown yet that treatment's error rate is less than {allowed:.2%} above "
        f"control's{_at_worst(errors.worst_case, '{:+.2%}')}."
    )


def _at_worst(value: float, form: str) -> str:
    return "" if value == float("inf") else f": at worst {form.format(value)}"
