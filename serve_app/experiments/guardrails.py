"""Guardrails: treatment must not harm latency or error rate. One-sided, valid at any interim look.

A guardrail has two questions, and an undecided range between them. *Broken*: is it significant that
treatment is worse than the limit allows? Only then is there a reason to roll back; one error in
1,000 is not significant. *Held*: is it significant that treatment is not worse by the limit
(non-inferiority)? Only then does the guardrail permit a promotion.
"""

from dataclasses import dataclass

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.effects import error_effect, latency_effect
from serve_app.experiments.statistics import sequential
from serve_app.experiments.statistics.effect import Effect
from serve_app.experiments.table import Table

PLANNED_WEIGHT = 50.0
"""Amount of data that the guardrails are tuned to: small, so that harm is found early."""

PLANNED_ERRORS = 50.0
PLANNED_REQUESTS = 1000.0
"""Counts that the exact tests of the error rates are tuned to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The data behind a harm: the variants' values, and their difference at the same times."""

    control: float | None
    treatment: float | None
    difference: float
    """Treatment minus control as the test computes it: the mean over blocks of time."""
    recent: bool = False
    """Whether the values are those of the last minute alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """The evidence that treatment exceeds a limit."""

    p_value: float
    """The always-valid, one-sided p-value of "treatment is within the limit"; 1 without data."""
    shown_by: Comparison
    """The data that the p-value is based on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """The state of one guardrail."""

    name: str
    control: float | None
    treatment: float | None
    """The variants' own values; None without data."""
    limit: float
    harm_p_value: float
    """The always-valid, one-sided p-value of "treatment is within the limit"; 1 without data. It is
    not yet corrected for the number of guardrails."""
    shown_by: Comparison
    """The data that `harm_p_value` is based on."""
    worst_case: float
    """The always-valid, one-sided upper bound of treatment minus control; infinite without data."""
    held: bool
    """Whether it is significant that treatment is not worse by the limit."""
    within_limit: bool
    """Whether the point estimate is within the limit; true without data. This is no test: it only
    decides whether the exposure may grow."""


def latency_guardrail(definition: ExperimentDefinition, table: Table, alpha: float) -> Guardrail:
    """Return whether treatment's mean latency exceeds control's by at most the limit.

    Args:
        definition: the experiment, for `max_latency_degradation_ms`.
        table: its data; failed predictions have no latency.
        alpha: one-sided level of `worst_case` and `held`.
    """
    effect = latency_effect(definition, table)
    harm = latency_harm(definition, table, alpha)
    limit = definition.max_latency_degradation_ms
    worst = effect.value + effect.sequential_half_width(PLANNED_WEIGHT, 2 * alpha)
    return Guardrail(
        name="latency_ms",
        control=harm.shown_by.control,
        treatment=harm.shown_by.treatment,
        limit=limit,
        harm_p_value=harm.p_value,
        shown_by=harm.shown_by,
        worst_case=worst,
        held=worst < limit,
        within_limit=effect.value <= limit,
    )


def latency_harm(definition: ExperimentDefinition, table: Table, alpha: float) -> Harm:
    """Return the evidence that treatment's mean latency exceeds control's by more than the limit.

    Args:
        definition: the experiment, for `max_latency_degradation_ms`.
        table: its data; failed predictions have no latency.
        alpha: level that the test is tuned to.
    """
    effect = latency_effect(definition, table)
    control, treatment = (
        variant.total.latency_sum / variant.total.succeeded if variant.total.succeeded else None
        for variant in (table.control, table.treatment)
    )
    return Harm(
        p_value=_p_value(effect.above(definition.max_latency_degradation_ms), alpha),
        shown_by=Comparison(control=control, treatment=treatment, difference=effect.value),
    )


def error_guardrail(definition: ExperimentDefinition, table: Table, alpha: float) -> Guardrail:
    """Return whether treatment fails too often.

    The guardrail is broken if treatment's error rate is significantly more than
    `max_error_rate_ratio` times control's, and held if it is significantly less than
    `max_error_rate_increase` above control's. Errors are rare and occur in bursts, so each question
    has two tests of which the weaker one counts: an exact test as if errors were independent, and a
    test by block of time, in which a burst is one event. Requests that an open circuit breaker
    rejected are not separate events.
    """
    effect = error_effect(definition, table)
    harm = error_harm(definition, table, alpha)
    worst_by_block = effect.value + effect.sequential_half_width(PLANNED_WEIGHT, 2 * alpha)
    # One-sided bounds of both variants at half of the level combine to one of the difference.
    highest, lowest = (
        sequential.bernoulli_interval(total.errors, total.attempted, alpha, PLANNED_REQUESTS)
        for total in (table.treatment.total, table.control.total)
    )
    worst = max(worst_by_block, highest[1] - lowest[0])
    return Guardrail(
        name="error_rate",
        control=harm.shown_by.control,
        treatment=harm.shown_by.treatment,
        limit=definition.max_error_rate_ratio,
        harm_p_value=harm.p_value,
        shown_by=harm.shown_by,
        worst_case=worst,
        held=worst < definition.max_error_rate_increase,
        within_limit=effect.value <= definition.max_error_rate_increase,
    )


def error_harm(definition: ExperimentDefinition, table: Table, alpha: float) -> Harm:
    """Return the evidence that treatment's error rate is above `max_error_rate_ratio` times
    control's.

    Args:
        definition: the experiment, for the limit.
        table: its data.
        alpha: level that the test by block of time is tuned to.
    """
    control, treatment = table.control.total, table.treatment.total
    ratio = definition.max_error_rate_ratio
    exact = sequential.rate_ratio_p_value(
        (control.errors, control.attempted),
        (treatment.errors, treatment.attempted),
        ratio,
        PLANNED_ERRORS,
    )
    rates = [
        total.errors / total.attempted if total.attempted else None
        for total in (control, treatment)
    ]
    return Harm(
        p_value=max(_p_value(error_effect(definition, table, ratio), alpha), exact),
        shown_by=Comparison(
            control=rates[0],
            treatment=rates[1],
            difference=error_effect(definition, table).value,
        ),
    )


def _p_value(effect: Effect, alpha: float) -> float:
    return effect.sequential_one_sided_p_value(PLANNED_WEIGHT, 2 * alpha)
