"""What treatment must not do harm to: latency and error rate. One-sided, safe to look at any time.

A guardrail asks two questions, and between them lies "not known yet". *Broken*: is it shown that
treatment is worse than the limit allows? Only then is there a reason to roll back; one error in
1,000 shows nothing. *Held*: is it shown that treatment is not worse by the limit (non-inferiority)?
Only then is there no reason against a promotion.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.effects import Effect, error_effect, latency_effect
from serve_app.experiments.statistics import sequential
from serve_app.experiments.table import Table

PLANNED_WEIGHT = 50.0
"""Amount of data that the guardrails are tuned to: harm is to be found early."""

PLANNED_ERRORS = 50.0
PLANNED_REQUESTS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the evidence of harm is: the variants' values and how they differ at the same times."""

    control: float | None
    treatment: float | None
    difference: float
    """Treatment minus control as the test has it: within blocks of time, averaged over them."""
    recent: bool = False
    """Whether this is the last minute alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One guardrail's state."""

    name: str
    control: float | None
    treatment: float | None
    """The variants' own values; None without any."""
    limit: float
    harm_p_value: float
    """Always-valid, one-sided, against "treatment is within the limit"; 1 while nothing is known.
    Not yet corrected for the number of guardrails."""
    shown_by: Comparison
    """What `harm_p_value` rests on."""
    worst_case: float
    """Upper bound of treatment minus control, one-sided, always valid; infinite while unknown."""
    held: bool
    """Whether it is shown that treatment is not worse by the limit."""
    looks_fine: bool
    """Whether the values as they stand are within the limit, chance left aside; true without any.
    No proof, but enough to wait before more traffic is exposed."""


def latency_guardrail(definition: ExperimentDefinition, table: Table, alpha: float) -> Guardrail:
    """Return whether treatment's mean latency is at most the limit above control's.

    Args:
        definition: for `max_latency_degradation_ms`.
        table: the experiment; failed predictions have no latency.
        alpha: one-sided level of `worst_case` and `held`.
    """
    effect = latency_effect(definition, table)
    limit = definition.max_latency_degradation_ms
    worst = effect.value + effect.sequential_half_width(PLANNED_WEIGHT, 2 * alpha)
    means = [
        variant.total.latency_sum / variant.total.answered if variant.total.answered else None
        for variant in (table.control, table.treatment)
    ]
    return Guardrail(
        name="latency_ms",
        control=means[0],
        treatment=means[1],
        limit=limit,
        harm_p_value=_harm(effect.above(limit), alpha),
        shown_by=Comparison(control=means[0], treatment=means[1], difference=effect.value),
        worst_case=worst,
        held=worst < limit,
        looks_fine=effect.value <= limit,
    )


def error_guardrail(definition: ExperimentDefinition, table: Table, alpha: float) -> Guardrail:
    """Return whether treatment fails too often.

    Broken when its error rate is shown to be more than `max_error_rate_ratio` times control's;
    held when it is shown to be less than `max_error_rate_increase` above control's. Errors are rare
    and come in bursts, so each is shown in two ways and the weaker counts: exactly, as if errors
    were independent, and by blocks of time, where a burst is one event. Requests that an open
    circuit breaker withheld are no events of their own.
    """
    control, treatment = table.control.total, table.treatment.total
    rates = [each.errors / each.asked if each.asked else None for each in (control, treatment)]
    effect = error_effect(definition, table)
    worst_by_block = effect.value + effect.sequential_half_width(PLANNED_WEIGHT, 2 * alpha)
    # A one-sided bound for each variant at half the level makes one for the difference.
    highest, lowest = (
        sequential.bernoulli_interval(each.errors, each.asked, alpha, PLANNED_REQUESTS)
        for each in (treatment, control)
    )
    worst = max(worst_by_block, highest[1] - lowest[0])
    ratio = definition.max_error_rate_ratio
    return Guardrail(
        name="error_rate",
        control=rates[0],
        treatment=rates[1],
        limit=ratio,
        harm_p_value=max(
            _harm(error_effect(definition, table, ratio), alpha),
            error_ratio_p_value(
                (control.errors, control.asked),
                (treatment.errors, treatment.asked),
                ratio,
            ),
        ),
        shown_by=Comparison(control=rates[0], treatment=rates[1], difference=effect.value),
        worst_case=worst,
        held=worst < definition.max_error_rate_increase,
        looks_fine=effect.value <= definition.max_error_rate_increase,
    )


def error_ratio_p_value(
    control: tuple[int, int], treatment: tuple[int, int], ratio: float = 1.0
) -> float:
    """Return the always-valid p-value against "treatment fails at most `ratio` times as often".

    Each error belongs to treatment with probability ratio n_t / (ratio n_t + n_c) when treatment
    fails exactly that much more often (Przyborowski and Wilenski 1940), and that is tested by the
    beta-binomial mixture; for independent errors.

    Args:
        control, treatment: (errors, predictions) of the variants.
        ratio: of the error rates.
    """
    (control_errors, control_n), (treatment_errors, treatment_n) = control, treatment
    errors = control_errors + treatment_errors
    if not errors or not control_n or not treatment_n:
        return 1.0
    share = ratio * treatment_n / (ratio * treatment_n + control_n)
    if treatment_errors <= errors * share:
        return 1.0
    evidence = sequential.log_bernoulli_e_value(treatment_errors, errors, share, PLANNED_ERRORS)
    return min(1.0, math.exp(-float(evidence)) / 2)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for their number (Holm 1979), by name.

    Rejecting what is at most alpha rejects any true hypothesis with probability alpha at most. It
    holds for always-valid p-values too.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda each: each[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * value))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def _harm(effect: Effect, alpha: float) -> float:
    return effect.sequential_one_sided_p_value(PLANNED_WEIGHT, 2 * alpha)
