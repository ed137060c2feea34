"""The circuit breaker: excludes a variant as soon as it fails, and probes it until it recovers.

A pure state machine: each function returns the next state. It protects the bots within seconds and
without evidence; whether treatment is worse is for `guardrails` to decide. Probes run concurrently
with the responses, so that no bot waits for one, and they are evidence like any other request: of a
treatment that continues to fail, and of one that failed together with control and has recovered.

    CLOSED ── failures in a row, or a share of failures ──► OPEN ── retry_after_s ──► HALF_OPEN
       ▲                                                      ▲                          │
       └───────── trial_successes successes in a row ─────────┼──────────────────────────┤
                                                              └───────── a failure ──────┘
"""

from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class BreakerSettings(BaseModel):
    """The failures that exclude a variant, and the probes that readmit it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    failures_in_a_row: PositiveInt = 5
    """The number of consecutive failures that opens the breaker."""
    failure_share: float = Field(default=0.5, gt=0, le=1)
    """Share of failures during the window that opens the breaker, from `window_calls` on."""
    window_s: PositiveFloat = 10.0
    """The length of the window over which `failure_share` is computed."""
    window_calls: PositiveInt = 20
    """The fewest calls in the window for which `failure_share` counts."""
    retry_after_s: PositiveFloat = 0.25
    """The pause between a failure and the next probe. Long pauses leave the guardrails without
    evidence: at 30 s a variant that always fails is not rolled back for many minutes."""
    trial_successes: PositiveInt = 3
    """The number of successful probes in a row that readmit the variant."""


class Admission(Enum):
    """How a request that is assigned to a variant is admitted."""

    ADMIT = "admit"
    """The variant receives the request and responds."""
    PROBE = "probe"
    """The variant receives the request as a probe; the other variant responds."""
    REJECT = "reject"
    """The variant does not receive the request."""


class BreakerMode(StrEnum):
    """Whether the variant receives traffic."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """The state of a breaker; times are seconds of one monotonic clock."""

    mode: BreakerMode = BreakerMode.CLOSED
    failures_in_a_row: int = 0
    successes_in_a_row: int = 0
    since_s: float = 0.0
    """The start of this mode."""
    probe_started_s: float | None = None
    """The start of the probe in flight; None when there is none."""
    window: tuple[tuple[int, int, int], ...] = field(default=())
    """(slice of the window, calls, failures) by time."""


WINDOW_SLICES = 10


def admit(breaker: Breaker, now_s: float, settings: BreakerSettings) -> tuple[Admission, Breaker]:
    """Return how a request to the variant is admitted now, and the next state.

    One probe is in flight at a time; a probe without a result is abandoned after `retry_after_s`.
    """
    if breaker.mode is BreakerMode.CLOSED:
        return Admission.ADMIT, breaker
    if breaker.mode is BreakerMode.OPEN:
        if now_s - breaker.since_s < settings.retry_after_s:
            return Admission.REJECT, breaker
        probing = Breaker(mode=BreakerMode.HALF_OPEN, since_s=now_s, probe_started_s=now_s)
        return Admission.PROBE, probing
    started_s = breaker.probe_started_s
    if started_s is not None and now_s - started_s < settings.retry_after_s:
        return Admission.REJECT, breaker
    return Admission.PROBE, replace(breaker, probe_started_s=now_s)


def on_success(breaker: Breaker, now_s: float, settings: BreakerSettings) -> Breaker:
    """Return the state after the variant responded."""
    if breaker.mode is BreakerMode.OPEN:  # a response to a request from before it opened
        return breaker
    if breaker.mode is BreakerMode.HALF_OPEN:
        successes = breaker.successes_in_a_row + 1
        if successes >= settings.trial_successes:
            return Breaker(since_s=now_s)
        return replace(breaker, successes_in_a_row=successes, probe_started_s=None)
    window = _counted(breaker.window, now_s, settings, failed=False)
    return replace(breaker, failures_in_a_row=0, window=window)


def on_failure(breaker: Breaker, now_s: float, settings: BreakerSettings) -> Breaker:
    """Return the state after the variant failed or exceeded its time."""
    if breaker.mode is BreakerMode.OPEN:
        return breaker
    if breaker.mode is BreakerMode.HALF_OPEN:
        return Breaker(mode=BreakerMode.OPEN, since_s=now_s)
    window = _counted(breaker.window, now_s, settings, failed=True)
    in_a_row = breaker.failures_in_a_row + 1
    calls = sum(counted for _, counted, _ in window)
    failures = sum(failed for _, _, failed in window)
    if in_a_row >= settings.failures_in_a_row or (
        calls >= settings.window_calls and failures >= settings.failure_share * calls
    ):
        return Breaker(mode=BreakerMode.OPEN, since_s=now_s)
    return replace(breaker, failures_in_a_row=in_a_row, window=window)


def _counted(
    window: tuple[tuple[int, int, int], ...],
    now_s: float,
    settings: BreakerSettings,
    *,
    failed: bool,
) -> tuple[tuple[int, int, int], ...]:
    current = int(now_s / settings.window_s * WINDOW_SLICES)
    recent = [counts for counts in window if counts[0] > current - WINDOW_SLICES]
    calls, failures = 1, int(failed)
    if recent and recent[-1][0] == current:
        _, earlier_calls, earlier_failures = recent.pop()
        calls, failures = calls + earlier_calls, failures + earlier_failures
    return (*recent, (current, calls, failures))
