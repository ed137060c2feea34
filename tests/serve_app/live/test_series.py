"""The windows at many bars are those of single requests, whatever was revised or came late."""

from types import SimpleNamespace

import numpy as np
import pytest

from features import Bars
from features.bars import Symbol
from features.calendars import CALENDARS, Markets
from features.feature_sets import compute_rows
from features.pushes import Push
from serve_app.bars.service import BarLogService
from serve_app.data_plane.backends import Backends
from serve_app.data_plane.series_windows import SeriesRange
from serve_app.errors import InvalidRequestError, ServingError, WindowsUnavailableError
from serve_app.live import series as module
from serve_app.live.predictor import LivePredictor
from serve_app.live.publications import Publications
from serve_app.versions import VersionRef
from testkit.feature_sets import ToyFeatureSet, change_and_volume, consecutive_bars, record
from testkit.models import metadata
from tests.serve_app.live.fake_bar_log import HOURLY, FakeBarLog

VERSION = VersionRef("toy", "1.0.0")
HOUR_MS = 3_600_000
TIMESTEPS = 3
LATEST_MS = 10**13


async def predictor_of(log, function=change_and_volume, markets=None):
    feature_set = ToyFeatureSet(function=function)
    installed = SimpleNamespace(feature_set=feature_set, source=SimpleNamespace(sha256="0" * 64))
    predictor = LivePredictor(log, Backends(None), lambda _: installed, Publications())
    await predictor.adopt([metadata(feature_set=record())], markets or Markets())
    return predictor


async def windows(predictor, first_ms=0, last_ms=LATEST_MS, **fields):
    """Return the window of each bar of a range, or the code of its error; and when it was known."""
    found = {}
    following = first_ms
    while following is not None:
        wanted = SeriesRange("A", following, last_ms, **fields)
        part = await predictor.series(VERSION, wanted)
        times = part.time.tolist()
        found |= {times[place]: code for place, code in part.problems.items()}
        for run in part.runs:
            for start in range(len(run.rows) - TIMESTEPS + 1):
                place = run.first + start
                rows = run.rows[start : start + TIMESTEPS]
                found[times[place]] = (int(part.as_of_ms[place]), rows.tobytes())
        assert found.keys() >= set(times)
        following = part.following_ms
    return dict(sorted(found.items()))


async def single(predictor, bar_ms):
    """Return what a single request has of a bar, in the same form."""
    try:
        window = await predictor.window(VERSION, "A", bar_ms)
    except ServingError as error:
        return error.code
    return window.as_of_ms, window.rows.tobytes()


def random_log(seed):
    """Return a log of bars with gaps, of which some came late and some were revised."""
    random = np.random.default_rng(seed)
    log, bars = FakeBarLog(), consecutive_bars(60, seed=seed)
    kept = np.flatnonzero(random.random(60) > 0.04)
    for place in kept.tolist():
        known_at = int(bars.time[place]) + HOUR_MS
        late = random.random() < 0.15
        known_at += int(random.integers(1, 9)) * HOUR_MS + 1 if late else 0
        log.push("A", bars.take(slice(place, place + 1)), known_at)
        for number in range(int(random.integers(0, 3)) if random.random() < 0.3 else 0):
            taken = bars.take(slice(place, place + 1))
            changed = Bars(taken.time, taken.values * (1.5 + number))
            known_at += int(random.integers(1, 6)) * HOUR_MS + 2
            log.push("A", changed, known_at)
    return log


@pytest.mark.parametrize("seed", range(8))
async def test_equal_to_single_requests(monkeypatch, seed):
    """Each window, its time and each missing window is that of a single request, in any parts."""
    monkeypatch.setattr(module, "PART_BARS", [1024, 7][seed % 2])
    monkeypatch.setattr(module, "STRETCH_BARS", [256, 4][seed // 2 % 2])
    log = random_log(seed)
    predictor = await predictor_of(log)
    found = await windows(predictor)
    expected = {time: await single(predictor, time) for time in found}
    assert list(found) == sorted(set(log.rows["A"].time.tolist()))
    assert found == expected
    codes = [one for one in found.values() if isinstance(one, str)]
    assert 0 < len(codes) < len(found)


async def test_real_log(tmp_path, monkeypatch):
    """The windows from a real log are those from one in memory."""
    monkeypatch.setattr(module, "PART_BARS", 7)
    expected, clock = random_log(3), [0]
    service = BarLogService(tmp_path / "bars", None, now_ms=lambda: clock[0])
    await service.open()
    rows = expected.rows["A"]
    for place in np.argsort(rows.known_at, kind="stable").tolist():
        clock[0] = int(rows.known_at[place])
        bar = rows.take(slice(place, place + 1))
        await service.append([Push(Symbol("A"), HOURLY, Bars(bar.time, bar.values))])
    predictor = await predictor_of(service)
    found = await windows(predictor)
    assert found == await windows(await predictor_of(expected))
    assert found == {time: await single(predictor, time) for time in found}
    await service.close()


async def test_view():
    """What became known after the time of the view is left out."""
    log = random_log(1)
    times = np.unique(log.rows["A"].time)
    known_at_ms = int(times[30]) + HOUR_MS
    found = await windows(await predictor_of(log), known_at_ms=known_at_ms)
    earlier = FakeBarLog()
    rows = log.rows["A"]
    earlier.rows["A"] = rows.take(rows.known_at <= known_at_ms)
    assert found == await windows(await predictor_of(earlier))
    assert max(found) <= times[30]


async def test_range():
    """The windows of a range use the bars before it."""
    log, bars = FakeBarLog(), consecutive_bars(20)
    log.push("A", bars, LATEST_MS - 1)
    predictor = await predictor_of(log)
    first_ms, last_ms = int(bars.time[8]), int(bars.time[11])
    found = await windows(predictor, first_ms, last_ms)
    assert list(found) == bars.time[8:12].tolist()
    rows = compute_rows(ToyFeatureSet(function=change_and_volume), bars.take(slice(4, 9)))
    assert found[first_ms] == (LATEST_MS - 1, rows.tobytes())
    assert await windows(predictor, int(bars.time[-1]) + 1) == {}


@pytest.mark.parametrize(("calendar", "complete"), [("fx", 6), (None, 0)])
async def test_weekend(calendar, complete):
    """Hours in which the market is closed are no gap."""
    friday = 1_767_996_000_000  # 2026-01-09T22:00Z, the close
    times = np.concatenate(
        [friday - np.arange(4, 0, -1) * HOUR_MS, friday + np.arange(48, 54) * HOUR_MS]
    )
    log = FakeBarLog()
    log.push("A", Bars(times, consecutive_bars(10).values), friday + 60 * HOUR_MS)
    markets = Markets((("A", CALENDARS[calendar]),)) if calendar else Markets()
    found = list((await windows(await predictor_of(log, markets=markets))).values())
    assert sum(not isinstance(one, str) for one in found) == complete + 2 * (not calendar)


async def test_failing_feature_set():
    """A bar of which the feature set fails lacks a window only where it is part of one."""

    def rows(bars):
        if (bars.volume == 0).any():
            raise ZeroDivisionError
        return change_and_volume(bars)

    bars = consecutive_bars(20)
    values = bars.values.copy()
    values[4, 9] = 0
    log = FakeBarLog()
    log.push("A", Bars(bars.time, values), LATEST_MS - 1)
    predictor = await predictor_of(log, rows)
    found = await windows(predictor)
    failed = [time for time, one in found.items() if one == "prediction_failed"]
    assert failed == bars.time[9:14].tolist()
    assert found == {time: await single(predictor, time) for time in found}


async def test_rejected():
    """A version that is not known yet and another timeframe are rejected."""
    log = FakeBarLog()
    log.push("A", consecutive_bars(20), LATEST_MS - 1)
    predictor = await predictor_of(log)
    with pytest.raises(InvalidRequestError, match="expected 1h, that of toy:"):
        await predictor.series(VERSION, SeriesRange("A", 0, LATEST_MS, "1d"))
    with pytest.raises(WindowsUnavailableError):
        await predictor.series(VersionRef("toy", "9.0.0"), SeriesRange("A", 0, LATEST_MS))
