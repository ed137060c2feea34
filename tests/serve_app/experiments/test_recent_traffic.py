"""The last minute is kept second by second, and costs its part of the level."""

import numpy as np
import pytest

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.recent_traffic import RECENT_SHARE, STEP_S, WINDOW_S, RecentTraffic
from serve_app.experiments.records import Variant
from tests.serve_app.experiments.factories import START, definition, prediction

BEGAN_S = START.timestamp()


def filled(seconds):
    recent = RecentTraffic()
    for second in seconds:
        recent.add(prediction(second))
        recent.add(prediction(second, variant=Variant.TREATMENT, error="prediction_failed"))
    return recent


def test_windows():
    """A window begins every step and lasts a minute."""
    windows = filled(range(200)).windows(BEGAN_S + 199.5)
    assert [window.start_s - BEGAN_S for window in windows] == [140, 150, 160, 170, 180, 190]
    assert len(windows) == WINDOW_S / STEP_S
    assert [len(window.blocks) for window in windows] == [60, 50, 40, 30, 20, 10]
    for window in windows:
        assert [block.block for block in window.blocks] == list(range(len(window.blocks)))
        assert {block.treatment.errors for block in window.blocks} == {1}


def test_old_seconds_are_removed():
    """Seconds older than a minute use no memory."""
    recent = filled(range(1000))
    assert recent.kept_seconds <= WINDOW_S
    recent.add(prediction(5))
    recent.add(prediction(1001))
    assert recent.kept_seconds <= WINDOW_S


def test_windows_are_copies():
    """A window does not change with later predictions."""
    recent = filled(range(3))
    (*_, window) = recent.windows(BEGAN_S + 2.5)
    recent.add(prediction(2))
    assert [block.control.predictions for block in window.blocks] == [1, 1, 1]


def mirrored(second, number=0, *, latency_ms=2.0, treatment=True):
    fields = {
        "prediction_id": f"{second} {number}",
        "latency_ms": latency_ms,
        "mirrored": True,
        "treatment_share": None,
    }
    return prediction(second, variant=Variant.TREATMENT if treatment else Variant.CONTROL, **fields)


@pytest.mark.parametrize("treatment_first", [True, False])
def test_pairs_in_any_order(treatment_first):
    """Mirrored requests are paired in either order of their records."""
    recent = RecentTraffic()
    variants = [mirrored(1, latency_ms=5.0), mirrored(1, latency_ms=2.0, treatment=False)]
    for record in variants if treatment_first else variants[::-1]:
        recent.add(record)
    recent.add(mirrored(2, 1))
    recent.add(mirrored(2, 1))  # sent again
    (*_, window) = recent.windows(BEGAN_S + 2.5)
    pairs = [block.pairs for block in window.blocks]
    assert [(pair.pairs, pair.latency_difference_sum) for pair in pairs] == [(1, 3.0), (0, 0.0)]


def test_incomplete_pairs_are_removed():
    """A mirrored request whose second record never arrives is removed after a minute."""
    recent = RecentTraffic()
    for second in range(1000):
        recent.add(mirrored(second))
    assert recent.incomplete_pairs <= WINDOW_S


def test_late_slowness_of_mirrored_treatment():
    """A mirrored treatment that becomes slow late is detected in the last minute."""
    made, generator = definition(mode="mirror", horizon_s=60), np.random.default_rng(1)
    clock = BlockClock.of(made, START)
    blocks, recent = {}, RecentTraffic()
    for request in range(20 * 600):
        second = request / 20
        control_ms, treatment_ms = generator.gamma(4.0, 0.5, 2)
        treatment_ms += 6.0 * (second >= 540)
        variants = [
            mirrored(second, latency_ms=control_ms, treatment=False),
            mirrored(second, latency_ms=treatment_ms),
        ]
        key = clock.block(variants[0].time)
        block = blocks.setdefault(key, Block(block=key))
        for variant, record in zip((block.control, block.treatment), variants, strict=True):
            variant.add_prediction(record)
            recent.add(record)
        block.pairs.add_predictions(*variants)
    windows = recent.windows(BEGAN_S + 599.9)
    whole, watched = (
        analyse(made, clock, list(blocks.values()), recent=recent).recommendation
        for recent in ([], windows)
    )
    assert whole.action == "continue"
    assert watched.action == "rollback"
    assert "Treatment is too slow during the last minute" in watched.reasons[0]


def test_cost_of_last_minute():
    """The test of the last minute takes its part of the level."""
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


def test_traffic_that_is_over():
    """It is over once its last second is in no window."""
    recent = filled(range(200))
    assert not recent.is_over(BEGAN_S + 199)
    assert not recent.is_over(BEGAN_S + 199 + WINDOW_S - STEP_S)
    assert recent.is_over(BEGAN_S + 200 + WINDOW_S)
