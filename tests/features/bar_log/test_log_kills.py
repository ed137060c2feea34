"""SIGKILL at any instant loses no acknowledged bar and duplicates none."""

import random
import time
from collections import Counter

import pytest

from features.bar_log import BarLog
from features.bars import LATEST_MS
from tests.features.bar_log import crash_writer
from tests.features.bar_log.bars import MINUTE_MS, MINUTELY


def kill_writers(folder, kills, seed):
    """Kill a writer again and again; check after each kill what the log has."""
    context = crash_writer.fork_server()
    choose = random.Random(seed)
    acknowledged = []
    killed_in_flight = 0
    minute = 0
    for kill in range(kills):
        receiver, sender = context.Pipe(duplex=False)
        arguments = str(folder), minute, seed + kill, sender
        process = context.Process(target=crash_writer.write, args=arguments)
        process.start()
        sender.close()
        # Some are killed while they open the log, the others while they write.
        for _ in range(choose.randrange(4)):
            acknowledged.append(receiver.recv())
        time.sleep(choose.uniform(0, 0.02))
        process.kill()
        process.join()
        while True:
            try:
                acknowledged.append(receiver.recv())
            except (EOFError, OSError):  # OSError: it was killed while it sent
                break
        receiver.close()
        stored = read(folder)
        expected = Counter(bar for push, _ in acknowledged for bar in push)
        # Each bar that was sent is different, but for a revision with the number of the original.
        assert all(count == 1 for count in stored.values())
        assert set(expected) <= set(stored)
        # At most one push was committed and not acknowledged; a part of it is never stored.
        surplus = set(stored) - set(expected)
        first_new = max((bar[0] for bar in expected), default=-1) + 1
        # A push may also revise one of its own bars.
        new_minutes = {minute for minute, _ in surplus if minute >= first_new}
        assert len(new_minutes) in {0, *crash_writer.SIZES}
        killed_in_flight += bool(surplus)
        acknowledged += [(sorted(surplus), len(surplus))] if surplus else []
        minute = max((bar[0] for bar in stored), default=-1) + 1
    return acknowledged, killed_in_flight


def read(folder):
    """Return how often each (minute, price) is stored, in the database and in the parts."""
    with BarLog(folder, limits=crash_writer.LIMITS) as log:
        if not log.reader.series():
            return Counter()
        assert log.reader.verify() == []
        rows = log.reader.rows("X", MINUTELY, 0, LATEST_MS)
        (summary,) = log.reader.series()
        assert summary.bars == len(set(rows.time.tolist()))
        minutes = (rows.time // MINUTE_MS).tolist()
        return Counter(zip(minutes, rows.close.tolist(), strict=True))


@pytest.mark.slow
def test_kills(tmp_path):
    """50 kills at random instants; the log is written, compacted and opened in between."""
    acknowledged, _ = kill_writers(tmp_path / "log", 50, seed=1)
    assert len(acknowledged) > 50


@pytest.mark.nightly
def test_many_kills(tmp_path):
    """500 kills, some of them between a commit and its acknowledgement."""
    acknowledged, killed_in_flight = kill_writers(tmp_path / "log", 500, seed=2)
    assert len(acknowledged) > 500
    assert killed_in_flight > 0
