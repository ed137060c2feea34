"""Blocks cover all time, and merge into equally long ones."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.experiments.blocks import BlockClock, common_length, length
from tests.serve_app.experiments.factories import START, definition

CLOCK = BlockClock.of(definition(), START)


def at(seconds):
    return START + timedelta(seconds=seconds)


@settings(deadline=None)
@given(st.floats(0, 1e8))
def test_a_time_lies_in_its_block(seconds):
    block = CLOCK.block(at(seconds))
    moment = at(seconds).timestamp()
    assert CLOCK.start_s(block) <= moment < CLOCK.end_s(block)
    assert CLOCK.block(at(CLOCK.end_s(block) - START.timestamp())) > block


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, 0), (0, 0), (0.124, 0), (0.125, 1), (31.9, 255), (32, 256), (32.2, 256), (64.4, 512)],
)
def test_blocks_begin_an_eighth_of_a_second_long_and_double(seconds, expected):
    assert CLOCK.block(at(seconds)) == expected


@pytest.mark.parametrize(("days", "most"), [(1, 1800), (30, 2400), (365, 2900)])
def test_a_year_falls_into_hundreds_of_blocks(days, most):
    block, count = 0, 0
    while block * CLOCK.base_s < days * 86_400:
        block, count = block + length(block), count + 1
    assert count <= most


@settings(deadline=None)
@given(st.sets(st.integers(0, 5000), min_size=1, max_size=40), st.floats(0, 300))
def test_any_set_of_blocks_has_a_common_length(seconds, at_least):
    keys = {CLOCK.block(at(second)) for second in seconds}
    size = common_length(keys, at_least)
    assert size >= at_least
    for key in keys:
        assert key // size == (key + length(key) - 1) // size


def test_a_switchbacks_blocks_are_whole_ones_of_its_own():
    made = definition(assignment="switchback", switchback_block_s=600)
    clock = BlockClock.of(made, at(1000))
    assert clock.start_s(0) % 600 == 0
    assert clock.block(at(1200)) == clock.block(at(600)) + 1
