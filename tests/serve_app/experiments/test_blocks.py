"""Blocks cover all time, and merge into equally long ones."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.experiments.blocks import Block, BlockClock, coarsen, length
from serve_app.experiments.summary import ArmSummary
from tests.serve_app.experiments.factories import START, definition

CLOCK = BlockClock.of(definition(), START)


def at(seconds):
    return START + timedelta(seconds=seconds)


@given(st.floats(0, 1e8))
def test_a_time_lies_in_its_block(seconds):
    block = CLOCK.block(at(seconds))
    moment = at(seconds).timestamp()
    assert CLOCK.start_s(block) <= moment < CLOCK.end_s(block)
    assert CLOCK.block(at(CLOCK.end_s(block) - START.timestamp())) > block


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, 0), (0, 0), (0.999, 0), (1, 1), (127.5, 127), (128, 128), (129.9, 128), (257, 256)],
)
def test_blocks_begin_a_second_long_and_double(seconds, expected):
    assert CLOCK.block(at(seconds)) == expected


@pytest.mark.parametrize(("days", "most"), [(1, 800), (30, 1200), (365, 1400)])
def test_a_year_falls_into_hundreds_of_blocks(days, most):
    block, count = 0, 0
    while block < days * 86_400:
        block, count = block + length(block), count + 1
    assert count <= most


@given(st.sets(st.integers(0, 5000), max_size=40), st.floats(0, 300))
def test_coarse_blocks_are_equally_long_and_lose_nothing(seconds, at_least):
    keys = {CLOCK.block(at(second)) for second in seconds}
    blocks = [Block(block=key, control=ArmSummary(predictions=key + 1)) for key in keys]
    size, merged = coarsen(blocks, at_least)
    assert size >= at_least
    assert all(each.block % size == 0 for each in merged)
    assert [each.block for each in merged] == sorted({key // size * size for key in keys})
    assert sum(each.control.predictions for each in merged) == sum(key + 1 for key in keys)


def test_a_switchbacks_blocks_are_whole_ones_of_its_own():
    made = definition(assignment="switchback", switchback_block_s=600)
    clock = BlockClock.of(made, at(1000))
    assert clock.start_s(0) % 600 == 0
    assert clock.block(at(1200)) == clock.block(at(600)) + 1
