"""A process that writes a bar log and may be killed at any instant.

It reports each push once it is acknowledged. The server that forks it has imported everything, so
that a new process costs milliseconds.
"""

import multiprocessing
import random
from pathlib import Path

from features.bar_log import BarLog, Limits
from tests.features.bar_log.bars import MINUTELY, NOW_MS, flat_bars

LIMITS = Limits(recent_rows=60, kept_rows=20, direct_rows=40, overlapping_parts=2)
"""So small that parts are written all the time."""
SIZES = (1, 5, 50)
"""The numbers of new bars of a push."""


def write(folder, first_minute, seed, acknowledgements):
    """Append bars from a minute on, until the process is killed."""
    choose = random.Random(seed)
    minute = first_minute
    with BarLog(Path(folder), limits=LIMITS) as log:
        while True:
            count = choose.choice(SIZES)
            push = [(minute + i, float(minute + i)) for i in range(count)]
            if choose.random() < 0.5:
                push.append((choose.randrange(first_minute, minute + 1), choose.random()))
            result = log.append("X", MINUTELY, flat_bars(*zip(*push, strict=True)), NOW_MS)
            acknowledgements.send((push, result.accepted + result.revised))
            minute += count
            log.compact()


def fork_server():
    """Return a context whose processes are forked from one that has imported the log."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
