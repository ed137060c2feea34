"""The breaker opens at once, and closes only after answers."""

from functools import reduce

from serve_app.experiments.circuit_breaker import (
    Breaker,
    BreakerMode,
    BreakerSettings,
    Turn,
    on_failure,
    on_success,
    turn,
)

SETTINGS = BreakerSettings()


def fail(breaker, times, now_s=0.0):
    return reduce(lambda state, _: on_failure(state, now_s, SETTINGS), range(times), breaker)


def succeed(breaker, times, now_s=0.0):
    return reduce(lambda state, _: on_success(state, now_s, SETTINGS), range(times), breaker)


def test_failures_in_a_row_open_it():
    assert fail(Breaker(), 4).mode is BreakerMode.CLOSED
    assert fail(Breaker(), 5).mode is BreakerMode.OPEN
    assert fail(succeed(fail(Breaker(), 4), 1), 4).mode is BreakerMode.CLOSED


def test_a_share_of_failures_opens_it_once_there_are_calls_enough():
    state = Breaker()
    for number in range(19):
        state = (fail if number % 2 else succeed)(state, 1)
    assert state.mode is BreakerMode.CLOSED
    assert fail(state, 1).mode is BreakerMode.OPEN


def test_one_failure_in_a_thousand_does_not_open_it():
    state = Breaker()
    for second in range(10):
        state = fail(succeed(state, 999, now_s=second), 1, now_s=second)
    assert state.mode is BreakerMode.CLOSED


def test_what_lies_before_the_window_is_forgotten():
    state = succeed(fail(succeed(fail(Breaker(), 4), 1), 4), 20, now_s=100.0)
    assert sum(calls for _, calls, _ in state.window) == 20
    assert len(succeed(state, 1, now_s=100.5).window) <= 11


def test_open_it_lets_nothing_through_until_the_time_of_a_trial():
    state = fail(Breaker(), 5, now_s=10.0)
    assert turn(Breaker(), 10.0, SETTINGS) == (Turn.ANSWER, Breaker())
    assert turn(state, 10.2, SETTINGS) == (Turn.WITHHELD, state)
    due, trial = turn(state, 10.25, SETTINGS)
    assert due is Turn.TRIAL
    assert trial.mode is BreakerMode.HALF_OPEN


def test_half_open_one_request_at_a_time_is_tried_and_none_answered():
    _, trial = turn(fail(Breaker(), 5), 30.0, SETTINGS)
    assert turn(trial, 30.1, SETTINGS)[0] is Turn.WITHHELD
    due, again = turn(on_success(trial, 30.1, SETTINGS), 30.1, SETTINGS)
    assert due is Turn.TRIAL
    assert again.successes_in_a_row == 1
    given_up = turn(again, 30.4, SETTINGS)[0]
    assert given_up is Turn.TRIAL, "a trial that never reported back is given up"


def test_three_answers_close_it_and_one_failure_opens_it_again():
    _, trial = turn(fail(Breaker(), 5), 30.0, SETTINGS)
    assert succeed(trial, 3, now_s=31.0) == Breaker(since_s=31.0)
    failed = fail(succeed(trial, 2, now_s=31.0), 1, now_s=31.0)
    assert failed == Breaker(mode=BreakerMode.OPEN, since_s=31.0)


def test_late_answers_do_not_close_it():
    state = fail(Breaker(), 5)
    assert succeed(state, 10) == state
    assert fail(state, 10) == state
