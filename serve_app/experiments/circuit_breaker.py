"""The circuit breaker: takes a variant out at once when it fails, and tries it again meanwhile.

A pure state machine: each function returns the next state. It protects the bots, within seconds and
without proof; whether treatment is worse is for `guardrails` to show. Trials go on beside the
answers, so that no bot waits for one, and are evidence like any other request: of a treatment that
goes on failing, and of one that failed together with control and is well again.

    CLOSED ── failures in a row, or a share of failures ──► OPEN ── retry_after_s ──► HALF_OPEN
       ▲                                                      ▲                          │
       └────────── trial_successes answers in a row ──────────┼──────────────────────────┤
                                                              └───────── a failure ──────┘
"""

from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class BreakerSettings(BaseModel):
    """When a variant is taken out and when it is tried again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    failures_in_a_row: PositiveInt = 5
    failure_share: float = Field(default=0.5, gt=0, le=1)
    """Share of failures during the window that opens the breaker, from `window_calls` on."""
    window_s: PositiveFloat = 10.0
    window_calls: PositiveInt = 20
    retry_after_s: PositiveFloat = 0.25
    """How long after a failure the next trial waits. Long pauses leave the guardrails without
    evidence: at 30 s a variant that always fails is not rolled back for many minutes."""
    trial_successes: PositiveInt = 3
    """Answers in a row that bring it back."""


class Turn(Enum):
    """What becomes of a request that is the variant's."""

    ANSWER = "answer"
    """The variant answers it."""
    TRIAL = "trial"
    """The variant is tried with it; somebody else answers."""
    WITHHELD = "withheld"
    """The variant does not see it."""


class BreakerMode(StrEnum):
    """Whether the variant gets traffic."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A breaker's state; times are seconds of any one clock that does not go back."""

    mode: BreakerMode = BreakerMode.CLOSED
    failures_in_a_row: int = 0
    successes_in_a_row: int = 0
    since_s: float = 0.0
    """When this mode began."""
    trial_began_s: float | None = None
    """When the request on trial was let through; None when none is under way."""
    window: tuple[tuple[int, int, int], ...] = field(default=())
    """(slice of the window, calls, failures) by time."""


WINDOW_SLICES = 10


def turn(breaker: Breaker, now_s: float, settings: BreakerSettings) -> tuple[Turn, Breaker]:
    """Return what becomes of a request now, and the next state.

    One request at a time is a trial; one that never reported back is given up after
    `retry_after_s`.
    """
    if breaker.mode is BreakerMode.CLOSED:
        return Turn.ANSWER, breaker
    if breaker.mode is BreakerMode.OPEN:
        if now_s - breaker.since_s < settings.retry_after_s:
            return Turn.WITHHELD, breaker
        return Turn.TRIAL, Breaker(mode=BreakerMode.HALF_OPEN, since_s=now_s, trial_began_s=now_s)
    began = breaker.trial_began_s
    if began is not None and now_s - began < settings.retry_after_s:
        return Turn.WITHHELD, breaker
    return Turn.TRIAL, replace(breaker, trial_began_s=now_s)


def on_success(breaker: Breaker, now_s: float, settings: BreakerSettings) -> Breaker:
    """Return the state after the variant answered."""
    if breaker.mode is BreakerMode.OPEN:  # an answer to what was asked before it opened
        return breaker
    if breaker.mode is BreakerMode.HALF_OPEN:
        successes = breaker.successes_in_a_row + 1
        if successes >= settings.trial_successes:
            return Breaker(since_s=now_s)
        return replace(breaker, successes_in_a_row=successes, trial_began_s=None)
    window = _counted(breaker.window, now_s, settings, failed=False)
    return replace(breaker, failures_in_a_row=0, window=window)


def on_failure(breaker: Breaker, now_s: float, settings: BreakerSettings) -> Breaker:
    """Return the state after the variant failed or did not answer in time."""
    if breaker.mode is BreakerMode.OPEN:
        return breaker
    if breaker.mode is BreakerMode.HALF_OPEN:
        return Breaker(mode=BreakerMode.OPEN, since_s=now_s)
    window = _counted(breaker.window, now_s, settings, failed=True)
    in_a_row = breaker.failures_in_a_row + 1
    calls = sum(each[1] for each in window)
    failures = sum(each[2] for each in window)
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
    recent = [each for each in window if each[0] > current - WINDOW_SLICES]
    calls, failures = 1, int(failed)
    if recent and recent[-1][0] == current:
        _, earlier_calls, earlier_failures = recent.pop()
        calls, failures = calls + earlier_calls, failures + earlier_failures
    return (*recent, (current, calls, failures))
