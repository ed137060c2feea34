"""The circuit breaker opens on failures, and closes only after successful probes."""

from functools import reduce

from serve_app.experiments.circuit_breaker import (
    Admission,
    Breaker,
    BreakerMode,
    BreakerSettings,
    admit,
    on_failure,
    on_success,
)

SETTINGS = BreakerSettings()


def fail(breaker, times, now_s=0.0):
    return reduce(lambda state, _: on_failure(state, now_s, SETTINGS), range(times), breaker)


def succeed(breaker, times, now_s=0.0):
    return reduce(lambda state, _: on_success(state, now_s, SETTINGS), range(times), breaker)


def test_failures_in_a_row_open_it():
    """Five failures in a row open the breaker; a success in between resets the count."""
    assert fail(Breaker(), 4).mode is BreakerMode.CLOSED
    assert fail(Breaker(), 5).mode is BreakerMode.OPEN
    assert fail(succeed(fail(Breaker(), 4), 1), 4).mode is BreakerMode.CLOSED


def test_failure_share_opens_it_after_enough_calls():
    """A share of failures opens the breaker only from a minimum number of calls on."""
    state = Breaker()
    for number in range(19):
        state = (fail if number % 2 else succeed)(state, 1)
    assert state.mode is BreakerMode.CLOSED
    assert fail(state, 1).mode is BreakerMode.OPEN


def test_rare_failures_do_not_open_it():
    """One failure in a thousand calls does not open the breaker."""
    state = Breaker()
    for second in range(10):
        state = fail(succeed(state, 999, now_s=second), 1, now_s=second)
    assert state.mode is BreakerMode.CLOSED


def test_calls_before_the_window_are_dropped():
    """Calls before the window are dropped, and the window's size is bounded."""
    state = succeed(fail(succeed(fail(Breaker(), 4), 1), 4), 20, now_s=100.0)
    assert sum(calls for _, calls, _ in state.window) == 20
    assert len(succeed(state, 1, now_s=100.5).window) <= 11


def test_open_breaker_rejects_until_the_next_probe():
    """An open breaker rejects all requests until `retry_after_s` has passed."""
    state = fail(Breaker(), 5, now_s=10.0)
    assert admit(Breaker(), 10.0, SETTINGS) == (Admission.ADMIT, Breaker())
    assert admit(state, 10.2, SETTINGS) == (Admission.REJECT, state)
    admission, probing = admit(state, 10.25, SETTINGS)
    assert admission is Admission.PROBE
    assert probing.mode is BreakerMode.HALF_OPEN


def test_half_open_breaker_probes_one_at_a_time():
    """One probe is in flight at a time, and other requests are rejected meanwhile."""
    _, probing = admit(fail(Breaker(), 5), 30.0, SETTINGS)
    assert admit(probing, 30.1, SETTINGS)[0] is Admission.REJECT
    admission, again = admit(on_success(probing, 30.1, SETTINGS), 30.1, SETTINGS)
    assert admission is Admission.PROBE
    assert again.successes_in_a_row == 1
    after_pause = admit(again, 30.4, SETTINGS)[0]
    assert after_pause is Admission.PROBE, "a probe without a result is abandoned"


def test_three_probes_close_it_one_failure_reopens():
    """Three successful probes in a row close the breaker; a failed one opens it again."""
    _, probing = admit(fail(Breaker(), 5), 30.0, SETTINGS)
    assert succeed(probing, 3, now_s=31.0) == Breaker(since_s=31.0)
    failed = fail(succeed(probing, 2, now_s=31.0), 1, now_s=31.0)
    assert failed == Breaker(mode=BreakerMode.OPEN, since_s=31.0)


def test_late_responses_do_not_close_it():
    """Responses to requests from before the breaker opened change nothing."""
    state = fail(Breaker(), 5)
    assert succeed(state, 10) == state
    assert fail(state, 10) == state
