"""Blocks cover all time, and merge into blocks of equal length."""

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
def test_block_contains_time(seconds):
    """A time lies within its block, and the end of a block within a later one."""
    block = CLOCK.block(at(seconds))
    moment = at(seconds).timestamp()
    assert CLOCK.start_s(block) <= moment < CLOCK.end_s(block)
    assert CLOCK.block(at(CLOCK.end_s(block) - START.timestamp())) > block


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, 0), (0, 0), (0.124, 0), (0.125, 1), (31.9, 255), (32, 256), (32.2, 256), (64.4, 512)],
)
def test_block_lengths_double(seconds, expected):
    """Blocks are 0.125 s long at first, and their length doubles with the age."""
    assert CLOCK.block(at(seconds)) == expected


@pytest.mark.parametrize(("days", "most"), [(1, 1800), (30, 2400), (365, 2900)])
def test_number_of_blocks(days, most):
    """Even a year consists of at most some thousand blocks."""
    block, count = 0, 0
    while block * CLOCK.base_s < days * 86_400:
        block, count = block + length(block), count + 1
    assert count <= most


@settings(deadline=None)
@given(st.sets(st.integers(0, 5000), min_size=1, max_size=40), st.floats(0, 300))
def test_common_length(seconds, at_least):
    """Every set of blocks has a common length into which each block fits."""
    keys = {CLOCK.block(at(second)) for second in seconds}
    size = common_length(keys, at_least)
    assert size >= at_least
    for key in keys:
        assert key // size == (key + length(key) - 1) // size


def test_switchback_blocks():
    """The blocks of a summary are whole blocks of the switchback."""
    made = definition(assignment="switchback", switchback_block_s=600)
    clock = BlockClock.of(made, at(1000))
    assert clock.start_s(0) % 600 == 0
    assert clock.block(at(1200)) == clock.block(at(600)) + 1
