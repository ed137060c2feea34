"""The timing sections of a request."""

import pytest

from serve_app.data_plane.decoding import Run
from serve_app.data_plane.timing import Stopwatch, TimingSection


def watch_at(*times_s):
    return Stopwatch(iter(times_s).__next__)


def test_laps_are_consecutive():
    """A lap assigns the time since the previous lap to its section."""
    watch = watch_at(10.0, 10.5, 10.75)
    watch.lap(TimingSection.READ)
    watch.lap(TimingSection.PARSE)
    assert watch.spent == {TimingSection.READ: 0.5, TimingSection.PARSE: 0.25}


def test_queue_time_excludes_the_run():
    """The round trip to a model is the part of the lap that its run does not account for."""
    watch = watch_at(0.0, 1.0)
    watch.lap_of_run(Run(waited_s=0.25, took_s=0.5))
    assert watch.spent == {
        TimingSection.QUEUE: 0.25,
        TimingSection.BATCH_WAIT: 0.25,
        TimingSection.MODEL: 0.5,
    }


def test_queue_time_without_a_run():
    """Without a run, the whole lap counts as the round trip to the model."""
    watch = watch_at(0.0, 1.0)
    watch.lap_of_run(None)
    assert watch.spent == {TimingSection.QUEUE: 1.0}


def test_server_time_excludes_reading():
    """The server-side time starts when the body has been read."""
    watch = watch_at(0.0, 5.0, 6.0, 6.5)
    watch.lap(TimingSection.READ)
    watch.lap(TimingSection.PARSE)
    assert watch.since_read_ms() == pytest.approx(1500.0)
