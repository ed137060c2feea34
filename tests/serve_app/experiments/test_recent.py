"""The last minute is kept second by second, and costs its part of the level."""

import pytest

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.recent import RECENT_SHARE, STEP_S, WINDOW_S, RecentTraffic
from serve_app.experiments.records import Variant
from tests.serve_app.experiments.factories import START, definition, prediction

BEGAN_S = START.timestamp()


def filled(seconds):
    recent = RecentTraffic()
    for second in seconds:
        recent.add(prediction(second))
        recent.add(prediction(second, variant=Variant.TREATMENT, error="prediction_failed"))
    return recent


def test_a_window_begins_every_step_and_lasts_a_minute():
    windows = filled(range(200)).windows(BEGAN_S + 199.5)
    assert [each.start_s - BEGAN_S for each in windows] == [140, 150, 160, 170, 180, 190]
    assert len(windows) == WINDOW_S / STEP_S
    assert [len(each.blocks) for each in windows] == [60, 50, 40, 30, 20, 10]
    for each in windows:
        assert [block.block for block in each.blocks] == list(range(len(each.blocks)))
        assert {block.treatment.errors for block in each.blocks} == {1}


def test_what_is_older_than_a_minute_takes_no_memory():
    recent = filled(range(10_000))
    assert len(recent._seconds) <= WINDOW_S
    recent.add(prediction(5))
    recent.add(prediction(10_001))
    assert len(recent._seconds) <= WINDOW_S


def test_a_window_shares_nothing_with_what_is_still_counted():
    recent = filled(range(3))
    (*_, window) = recent.windows(BEGAN_S + 2.5)
    recent.add(prediction(2))
    assert [each.control.predictions for each in window.blocks] == [1, 1, 1]


def test_watching_the_last_minute_takes_its_part_of_the_level():
    made = definition(horizon_s=60)
    clock = BlockClock.of(made, START)
    blocks = {}
    for second in range(60):
        for number in range(10):
            record = prediction(
                second,
                prediction_id=f"{second} {number}",
                variant=Variant.TREATMENT if number == 0 else Variant.CONTROL,
                latency_ms=3.0 + (3 * second + number) % 7 + 4.0 * (number == 0),
            )
            key = clock.block(record.time)
            block = blocks.setdefault(key, Block(block=key))
            (block.treatment if number == 0 else block.control).add_prediction(record)
    alone, watched = (
        analyse(made, clock, list(blocks.values()), recent=recent).evidence.latency
        for recent in (None, [])
    )
    assert alone.harm_p_value < 1
    assert watched.harm_p_value == pytest.approx(min(1.0, alone.harm_p_value / (1 - RECENT_SHARE)))
    assert not watched.shown_by.recent
