"""Where the time of a request goes."""

import pytest

from serve_app.data_plane.decoding import Run
from serve_app.data_plane.timing import Stage, Stopwatch, in_ms


def watch_at(*times_s):
    return Stopwatch(iter(times_s).__next__)


def test_each_lap_is_the_time_since_the_one_before():
    watch = watch_at(10.0, 10.5, 10.75)
    watch.lap(Stage.READ)
    watch.lap(Stage.PARSE)
    assert in_ms(watch.spent) == {"read_ms": 500.0, "parse_ms": 250.0}


def test_the_way_to_a_model_is_what_its_run_does_not_account_for():
    watch = watch_at(0.0, 1.0)
    watch.lap_of_run(Run(waited_s=0.25, took_s=0.5))
    assert watch.spent == {Stage.QUEUE: 0.25, Stage.BATCH_WAIT: 0.25, Stage.MODEL: 0.5}


def test_without_a_run_all_of_it_is_the_way():
    watch = watch_at(0.0, 1.0)
    watch.lap_of_run(None)
    assert watch.spent == {Stage.QUEUE: 1.0}


def test_the_servers_own_time_begins_when_the_body_is_there():
    watch = watch_at(0.0, 5.0, 6.0, 6.5)
    watch.lap(Stage.READ)
    watch.lap(Stage.PARSE)
    assert watch.since_read_ms() == pytest.approx(1500.0)
