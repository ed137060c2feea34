"""Random series with gaps, late bars and revisions, and a naive account of what was known when."""

import numpy as np

from features import KnownBars
from features.feature_sets import compute_rows
from testkit.feature_sets import HOURLY, ToyFeatureSet, change_and_volume, random_bars

TOY = ToyFeatureSet(function=change_and_volume)


def known_rows(count=120, *, late=0.0, revised=0.0, batches=0.0, seed=0):
    """Return the rows of `count` bars by time and known_at.

    Args:
        count: the number of bars.
        late: the share of bars that become known after some of the next ones.
        revised: the share of bars that are revised, at most three times.
        batches: the share of bars that become known together with the next one.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    bars = random_bars(count, seed)
    known_at = bars.time + HOURLY.length_ms
    for bar in np.flatnonzero(random.random(count) < late):
        known_at[bar] = known_at[min(count - 1, bar + random.integers(1, 8))] + 1
    for bar in np.flatnonzero(random.random(count - 1) < batches):
        known_at[bar] = max(known_at[bar], known_at[bar + 1])
    rows = [(bars.time[bar], known_at[bar], bars.values[:, bar]) for bar in range(count)]
    for bar in np.flatnonzero(random.random(count) < revised):
        at = known_at[bar]
        for _ in range(random.integers(1, 4)):
            at = at + random.integers(1, 12 * HOURLY.length_ms)
            rows.append((bars.time[bar], at, bars.values[:, bar] * random.uniform(0.9, 1.1)))
    rows.sort(key=lambda row: row[:2])
    return KnownBars(
        np.array([row[0] for row in rows]),
        np.array([row[2] for row in rows]).T,
        np.array([row[1] for row in rows]),
    )


def view(rows, known_at, first=None, last=None):
    """Return the bars as known at a time."""
    found = {}
    for position in range(len(rows)):
        if rows.known_at[position] <= known_at:
            found[int(rows.time[position])] = position
    times = sorted(time for time in found if (first or -1) <= time <= (last or time))
    return rows.take(np.array([found[time] for time in times], np.int64))


def samples_of(rows, definition, feature_set=TOY):
    """Return the window and the outcome of each bar of which both are known, by its time."""
    known = rows.take(rows.known_at <= definition.as_of_ms)
    bars, depth = view(known, definition.as_of_ms), definition.depth(feature_set)
    arrivals = sorted(set(known.known_at.tolist()))
    found = {}
    for position, time in enumerate(bars.time.tolist()):
        known_at = min(known.known_at[known.time == time].tolist())
        then = view(known, known_at, last=time)
        needed = bars.time[max(0, position - depth + 1) : position + 1].tolist()
        if len(needed) < depth or then.time[-depth:].tolist() != needed:
            continue
        window = compute_rows(feature_set, then.take(slice(-depth, None)))
        for arrival in arrivals:
            if arrival < known_at:
                continue
            outcome = definition.rule.outcome(view(known, arrival, first=time))
            if outcome is not None:
                break
        else:
            continue
        found[time] = (window, known_at, outcome, arrival)
    return found
