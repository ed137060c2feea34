"""The view in which the window of a bar became complete."""

import numpy as np
import pytest

from features import Bars
from serve_app.live.views import first_view
from testkit.feature_sets import consecutive_bars
from tests.serve_app.live.fake_bar_log import HOURLY, FakeBarLog

BARS = consecutive_bars(10)
END = int(BARS.time[-1]) + HOURLY.length_ms
"""When the last bar ended; times in the tests count from there."""


class Log(FakeBarLog):
    """A log whose times count from END."""

    def push(self, symbol, bars, known_at_ms):
        super().push(symbol, bars, END + known_at_ms)


def bar(place, factor=1.0):
    part = BARS.take(slice(place, place + 1))
    return Bars(part.time, part.values * factor)


async def view(log, bars=4, last_ms=END):
    return await first_view(log, "A", HOURLY, bars, last_ms)


async def test_in_order():
    """Without revisions it is the view at the arrival of the last bar."""
    log = Log()
    for place in range(10):
        log.push("A", bar(place), 1000 + place)
    found = await view(log)
    assert found.as_of_ms - END == 1009
    assert found.bars.time.tolist() == BARS.time[-4:].tolist()
    assert log.queries == 2


async def test_import():
    """Bars that were imported at once have the time of the import."""
    log = Log()
    log.push("A", BARS, 5000)
    assert (await view(log)).as_of_ms - END == 5000


@pytest.mark.parametrize("revisions", [1, 2, 400])
async def test_revised(revisions):
    """Later revisions, also of the last bar, do not change the view; they are in the latest one."""
    log = Log()
    for place in range(10):
        log.push("A", bar(place), 1000 + place)
    for number in range(revisions):
        log.push("A", bar(9 - number % 3, 2.0 + number), 2000 + 7 * number)
    found = await view(log)
    assert found.as_of_ms - END == 1009
    assert np.array_equal(found.bars.values, BARS.values[:, -4:])
    assert log.queries < 60
    assert found.latest.values[0, -1] == pytest.approx(
        BARS.values[0, -1] * (2.0 + (revisions - 1) // 3 * 3)
    )


async def test_late_bar():
    """A bar that arrives late completes the window, with the revisions known by then."""
    log = Log()
    for place in (0, 1, 2, 3, 4, 5, 6, 8, 9):
        log.push("A", bar(place), 1000 + place)
    log.push("A", bar(8, 2.0), 1500)
    log.push("A", bar(7), 2000)
    log.push("A", bar(6, 3.0), 2500)
    found = await view(log)
    assert found.as_of_ms - END == 2000
    assert found.bars.values[0].tolist() == [
        BARS.values[0, 6],
        BARS.values[0, 7],
        2 * BARS.values[0, 8],
        BARS.values[0, 9],
    ]


async def test_older_bar():
    """The view of an older bar does not depend on later bars."""
    log = Log()
    for place in range(10):
        log.push("A", bar(place), 1000 + place)
    found = await view(log, last_ms=int(BARS.time[6]))
    assert (found.as_of_ms - END, int(found.bars.time[-1])) == (1006, int(BARS.time[6]))


async def test_no_bars():
    """Before the first bar the view is empty."""
    log = Log()
    log.push("A", BARS, 5000)
    assert len((await view(log, last_ms=0)).bars) == 0
