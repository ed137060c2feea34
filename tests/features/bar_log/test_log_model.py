"""The log equals a list of rows in plain Python, for any sequence of operations."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from features.bar_log import BarLog, Limits
from tests.features.bar_log.bars import MINUTE_MS, MINUTELY, NOW_MS, flat_bars
from tests.features.bar_log.reference_log import ReferenceLog, Row

LIMITS = Limits(recent_rows=6, kept_rows=2, direct_rows=5, overlapping_parts=2)
BARS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([1.0, 2.0, 3.0])), max_size=12)
INSTANTS = st.integers(NOW_MS, NOW_MS + 40)


def as_rows(bars):
    return [
        Row(time // MINUTE_MS, price, known_at)
        for time, price, known_at in zip(
            bars.time.tolist(), bars.close.tolist(), bars.known_at.tolist(), strict=True
        )
    ]


class LogMachine(RuleBasedStateMachine):
    @initialize()
    def open(self):
        self.folder = Path(tempfile.mkdtemp(prefix="bar-log-"))
        self.log = BarLog(self.folder / "log", limits=LIMITS)
        self.model = ReferenceLog()

    def teardown(self):
        self.log.close()
        shutil.rmtree(self.folder)

    @rule(bars=BARS, now=INSTANTS)
    def append(self, bars, now):
        """Bars in any order, repeated, revised, with a clock that steps back."""
        minutes, prices = zip(*bars, strict=True) if bars else ((), ())
        result = self.log.append("X", MINUTELY, flat_bars(minutes, prices), now)
        counts = [result.accepted, result.duplicates, result.revised, len(result.rejected)]
        assert counts == self.model.append(bars, now)

    @rule()
    def compact(self):
        self.log.compact()

    @rule()
    def reopen(self):
        self.log.close()
        self.log = BarLog(self.folder / "log", limits=LIMITS)

    @rule(minute=st.integers(0, 12))
    def drop(self, minute):
        """The retention drops whole parts: the model follows the bar from which it retains."""
        self.log.drop_before(minute * MINUTE_MS)
        missing = set(self.model.all_rows()) - set(self.all_rows()) if self.model.rows else ()
        if missing:
            self.model.retained_from = max(row.minute for row in missing) + 1
            assert self.model.retained_from <= minute

    @rule(
        bars=st.integers(0, 8),
        until=st.integers(-1, 31),
        known_at=INSTANTS,
        offset=st.integers(-1, 1),
    )
    def window(self, bars, until, known_at, offset):
        if self.model.rows:
            expected = [row for row in self.model.visible(known_at + offset) if row.minute <= until]
            until_ms = until * MINUTE_MS + MINUTE_MS - 1
            window = self.log.reader.window("X", MINUTELY, bars, until_ms, known_at + offset)
            assert as_rows(window) == expected[max(0, len(expected) - bars) :]

    @rule(
        first=st.integers(-1, 31),
        last=st.integers(-1, 31),
        known_at=INSTANTS,
        limit=st.integers(0, 8),
    )
    def range(self, first, last, known_at, limit):
        if self.model.rows:
            expected = [row for row in self.model.visible(known_at) if first <= row.minute <= last]
            bounds = first * MINUTE_MS, last * MINUTE_MS
            found = self.log.reader.range("X", MINUTELY, *bounds, known_at, limit=limit)
            assert as_rows(found) == expected[:limit]

    @invariant()
    def series_and_rows(self):
        """Each row exists exactly once, and the summary counts the bars and gaps."""
        if not self.model.rows:
            assert self.log.reader.series() == []
            return
        assert self.all_rows() == self.model.all_rows()
        minutes = sorted({row.minute for row in self.model.all_rows()})
        if not minutes:
            assert self.log.reader.series() == []
            return
        (summary,) = self.log.reader.series()
        runs = sum(minute - 1 not in minutes for minute in minutes)
        assert summary.bars == len(minutes)
        assert (summary.first_ms, summary.last_ms) == (
            minutes[0] * MINUTE_MS,
            minutes[-1] * MINUTE_MS,
        )
        assert (summary.gaps, summary.missing) == (
            runs - 1,
            minutes[-1] - minutes[0] + 1 - len(minutes),
        )

    def all_rows(self):
        return as_rows(self.log.reader.rows("X", MINUTELY, -MINUTE_MS, NOW_MS))


@pytest.mark.slow
class TestLogModel(LogMachine.TestCase):
    settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
