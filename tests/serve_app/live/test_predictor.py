"""The predictor of symbols: predictions appear as bars arrive, and are the same after a restart."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from features import Bars
from features.calendars import CALENDARS, Markets
from features.errors import UnknownFeatureSetError
from features.feature_sets import compute_rows
from features.times import iso
from serve_app.data_plane.backends import Backends
from serve_app.data_plane.decoding import Prediction
from serve_app.errors import (
    BarsUnavailableError,
    IncompleteWindowError,
    ModelOutputError,
    NoFeatureSetError,
    OverloadedError,
    PredictionFailedError,
    VersionLoadingError,
)
from serve_app.live.predictor import LivePredictor
from serve_app.live.publications import Publications
from serve_app.settings import VersionSettings
from serve_app.state.serving import ServedVersion
from serve_app.versions import VersionRef
from testkit.feature_sets import (
    ToyFeatureSet,
    ToyPanelFeatureSet,
    change_and_volume,
    consecutive_bars,
    last_change_and_volume,
    record,
)
from testkit.models import metadata
from tests.serve_app.core import FakeBackend
from tests.serve_app.live.fake_bar_log import HOURLY, FakeBarLog

VERSION = VersionRef("toy", "1.0.0")
TOY = ToyPanelFeatureSet(function=change_and_volume, last_function=last_change_and_volume)
BARS = consecutive_bars(12)
NEEDED = 5
"""Three timesteps of a lookback of three bars."""


class Sums(FakeBackend):
    """Returns the sum of a window as expected_return."""

    async def predict_many(self, windows):
        self.batches.append(len(windows))
        if self.error:
            raise self.error
        return [Prediction(1, 0.5, float(window.sum())) for window in windows]


def served(version="1.0.0", **fields):
    return metadata(version=version, feature_set=record(), **fields)


class Setup:
    """A predictor with a log, a backend and the results."""

    def __init__(self, log=None, backend=None, feature_set=TOY, digest="0" * 64):
        self.log = log or FakeBarLog()
        self.backend = backend or Sums()
        self.backends = Backends(lambda _: self.backend)
        self.publications = Publications()
        installed = SimpleNamespace(feature_set=feature_set, source=SimpleNamespace(sha256=digest))
        self.predictor = LivePredictor(
            self.log, self.backends, lambda _: installed, self.publications
        )
        self.position = None

    async def start(self, *versions, markets=None):
        versions = versions or (served(),)
        self.backends.adopt(
            ServedVersion(metadata=one, settings=VersionSettings(model="toy", version=one.version))
            for one in versions
        )
        await self.predictor.adopt(versions, markets or Markets())
        self.following = asyncio.create_task(self.predictor.follow_forever())
        return await self.results()

    async def results(self):
        """Return the next results as a mapping from symbol and bar."""
        while True:
            publication = await self.publications.since(self.position, 5)
            assert publication is not None
            self.position = publication.position
            if publication.results or publication.is_whole:
                return {(one.symbol, one.bar_ms): one for one in publication.results}

    async def nothing(self):
        """Return whether there is no further result for a while."""
        while publication := await self.publications.since(self.position, 0.3):
            self.position = publication.position
            if publication.results:
                return False
        return True

    def push(self, symbol, part, known_at_ms, factor=1.0, bars=BARS):
        taken = bars.take(part)
        self.log.push(symbol, Bars(taken.time, taken.values * factor), known_at_ms)


@pytest.fixture
async def setup():
    """Setups whose tasks end with the test."""
    made = []

    def make(*args, **fields):
        made.append(Setup(*args, **fields))
        return made[-1]

    yield make
    for one in made:
        one.following.cancel()


def expected(bars, last):
    """Return the sum of the window that ends with a bar."""
    window = bars.take(slice(last - NEEDED + 1, last + 1))
    return float(compute_rows(TOY, window).sum())


def key(place, symbol="A"):
    return symbol, int(BARS.time[place])


async def test_start(setup):
    """The newest window of each symbol is predicted before anything is published."""
    one = setup()
    one.push("A", slice(8), 1000)
    one.push("B", slice(2), 1000)
    results = await one.start()
    result = results[key(7)]
    assert (result.version, result.timeframe, result.as_of_ms) == (VERSION, "1h", 1000)
    assert result.prediction().expected_return == expected(BARS, 7)
    with pytest.raises(IncompleteWindowError) as caught:
        results[key(1, "B")].prediction()
    assert (caught.value.needed, caught.value.count) == (NEEDED, 3)
    assert one.predictor.problem() is None


async def test_arrival(setup):
    """A prediction follows each bar, those of several symbols in one run of the model."""
    one = setup()
    for symbol in ("A", "B"):
        one.push(symbol, slice(8), 1000)
    await one.start()
    one.backend.batches.clear()
    for place in (8, 9):
        for symbol in ("A", "B"):
            one.push(symbol, slice(place, place + 1), 1000 + place)
        results = await one.results()
        if len(results) < 2:
            results |= await one.results()
        for symbol in ("A", "B"):
            result = results[key(place, symbol)]
            assert result.as_of_ms == 1000 + place
            assert result.prediction().expected_return == expected(BARS, place)
    assert sum(one.backend.batches) == 4


async def test_new_symbol(setup):
    """A symbol that is new lacks bars until there are enough."""
    one = setup()
    await one.start()
    one.push("A", slice(4), 1000)
    with pytest.raises(IncompleteWindowError):
        (await one.results())[key(3)].prediction()
    one.push("A", slice(4, 5), 1001)
    assert (await one.results())[key(4)].prediction().expected_return == expected(BARS, 4)


async def test_late_bar(setup):
    """A missing bar is named, and its arrival completes the window."""
    one = setup()
    one.push("A", slice(7), 1000)
    await one.start()
    one.push("A", slice(8, 9), 1001)
    with pytest.raises(
        IncompleteWindowError, match=f"lacks 1 of the 5 bars that it needs: {iso(key(7)[1])}"
    ):
        (await one.results())[key(8)].prediction()
    one.push("A", slice(7, 8), 1002)
    result = (await one.results())[key(8)]
    assert (result.as_of_ms, result.prediction().expected_return) == (1002, expected(BARS, 8))


async def test_revision(setup):
    """A revision changes no prediction that was made, and all later ones."""
    one = setup()
    one.push("A", slice(8), 1000)
    await one.start()
    one.push("A", slice(7, 8), 1001, factor=2.0)
    assert await one.nothing()
    one.push("A", slice(8, 9), 1002)
    revised = BARS.values.copy()
    revised[:, 7] *= 2.0
    result = (await one.results())[key(8)]
    assert result.prediction().expected_return == expected(Bars(BARS.time, revised), 8)


async def test_restart(setup):
    """A restarted predictor makes the same prediction, although bars were revised meanwhile."""
    first = setup()
    first.push("A", slice(8), 1000)
    made = await first.start()
    first.push("A", slice(6, 8), 1001, factor=2.0)
    second = setup(log=first.log)
    assert await second.start() == made
    first.push("A", slice(8, 9), 1002)
    assert await second.results() == await first.results()


async def test_followed_late(setup):
    """Commits that are followed together give the predictions of those that are followed singly."""
    one = setup()
    one.push("A", slice(8), 1000)
    await one.start()
    one.push("A", slice(8, 9), 1001)
    one.push("A", slice(8, 9), 1002, factor=3.0)
    one.push("A", slice(9, 10), 1003)
    results = await one.results()
    while key(9) not in results:
        results |= await one.results()
    assert results[key(8)].prediction().expected_return == expected(BARS, 8)
    assert results[key(8)].as_of_ms == 1001


async def test_missed_commits(setup):
    """A predictor that missed commits reads the log again."""
    one = setup()
    one.push("A", slice(8), 1000)
    await one.start()
    taken = BARS.take(slice(8, 9))
    one.log.push("A", taken, 1001, is_published=False)
    one.log.recent = type(one.log.recent)()  # as after a restart of the log's process
    assert (await one.results())[key(8)].prediction().expected_return == expected(BARS, 8)


async def test_weekend(setup):
    """Hours in which the market of a symbol is closed are not missing."""
    friday = 1_767_996_000_000  # 2026-01-09T22:00Z, the close
    times = np.concatenate(
        [friday - np.arange(3, 0, -1) * 3_600_000, friday + np.arange(48, 50) * 3_600_000]
    )
    bars = Bars(times, BARS.values[:, :5])
    for market, is_complete in ((Markets((("A", CALENDARS["fx"]),)), True), (Markets(), False)):
        one = setup()
        one.log.push("A", bars, 1000)
        result = (await one.start(markets=market))["A", int(times[-1])]
        assert isinstance(result.outcome, Prediction) == is_complete
        assert is_complete or isinstance(result.outcome, IncompleteWindowError)


async def test_unavailable_version(setup):
    """A version that is not loaded, or overloaded, gets its prediction once it is available."""
    one = setup(backend=Sums(loaded=False))
    one.push("A", slice(8), 1000)
    assert isinstance((await one.start())[key(7)].outcome, VersionLoadingError)
    one.backend.is_loaded, one.backend.error = True, OverloadedError("toy", "1.0.0", "full")
    assert isinstance((await one.results())[key(7)].outcome, OverloadedError)
    one.backend.error = None
    assert (await one.results())[key(7)].prediction().expected_return == expected(BARS, 7)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ModelOutputError("toy", "1.0.0", "NaN"), ModelOutputError),
        (OSError("x"), PredictionFailedError),
    ],
)
async def test_failing_version(setup, error, outcome):
    """A version that fails has its error as the result, and is not tried again."""
    one = setup(backend=Sums(error=error))
    one.push("A", slice(8), 1000)
    assert isinstance((await one.start())[key(7)].outcome, outcome)
    assert await one.nothing()


async def test_failing_feature_set(setup):
    """A feature set that fails on a symbol affects no other symbol."""

    def rows(bars):
        if bars.volume[-1] == 0:
            raise ZeroDivisionError
        return change_and_volume(bars)

    one = setup(feature_set=ToyFeatureSet(function=rows))
    one.push("A", slice(8), 1000)
    without_volume = Bars(BARS.time, BARS.values * np.array([1, 1, 1, 1, 0])[:, None])
    one.log.push("B", without_volume, 1000)
    results = await one.start()
    assert results[key(7)].prediction()
    with pytest.raises(PredictionFailedError, match="compute raised ZeroDivisionError"):
        results[key(11, "B")].prediction()


async def test_versions(setup):
    """A version that is added is predicted at once, and one that leaves no more."""
    one = setup()
    one.push("A", slice(8), 1000)
    await one.start()
    new = served("1.1.0", input_shape=(5, 2))
    one.backends.adopt(
        [ServedVersion(metadata=new, settings=VersionSettings(model="toy", version="1.1.0"))]
    )
    await one.predictor.adopt([new], Markets())
    publication = await one.publications.since(one.position, 5)
    assert [result.version.version for result in publication.results] == ["1.1.0"]
    one.position = publication.position
    one.push("A", slice(8, 9), 1001)
    assert [result.version.version for result in (await one.results()).values()] == ["1.1.0"]


async def test_unchanged_versions(setup):
    """A change of the serving state that changes no version causes no work."""
    one = setup()
    one.push("A", slice(8), 1000)
    await one.start()
    queries, runs = one.log.queries, list(one.backend.batches)
    await one.predictor.adopt([served()], Markets())
    assert (one.log.queries, one.backend.batches) == (queries, runs)
    assert await one.nothing()


async def test_on_request(setup):
    """The prediction of an older bar is made on request, once, from what was known by then."""
    one = setup()
    for place in range(10):
        one.push("A", slice(place, place + 1), 1000 + place)
    one.push("A", slice(5, 7), 2000, factor=2.0)
    await one.start()
    one.backend.batches.clear()
    first, second = await asyncio.gather(
        *(one.predictor.predict_bar(VERSION, *key(6)) for _ in range(2))
    )
    assert first == second == await one.predictor.predict_bar(VERSION, *key(6))
    assert first.prediction().expected_return == expected(BARS, 6)
    assert (first.as_of_ms, one.backend.batches) == (1006, [1])


async def test_window(setup):
    """The window of a bar is that of its prediction, with the times of its rows."""
    one = setup()
    one.push("A", slice(10), 1000)
    one.push("A", slice(5, 6), 2000, factor=2.0)
    await one.start()
    window = await one.predictor.window(VERSION, *key(7))
    assert (window.as_of_ms, window.time.tolist()) == (1000, BARS.time[5:8].tolist())
    assert window.rows.tobytes() == compute_rows(TOY, BARS.take(slice(3, 8))).tobytes()
    with pytest.raises(IncompleteWindowError):
        await one.predictor.window(VERSION, *key(2))
    with pytest.raises(IncompleteWindowError):
        await one.predictor.window(VERSION, *key(11))


async def test_not_on_request(setup):
    """A bar without a complete window has no prediction, and an error is not kept."""
    one = setup()
    one.push("A", slice(10), 1000)
    await one.start()
    with pytest.raises(IncompleteWindowError):
        (await one.predictor.predict_bar(VERSION, *key(2))).prediction()
    with pytest.raises(IncompleteWindowError, match="lacks 1 of the 5 bars"):
        await one.predictor.predict_bar(VERSION, *key(11))
    one.push("A", slice(10, 12), 1001)
    assert (await one.predictor.predict_bar(VERSION, *key(11))).prediction()
    with pytest.raises(NoFeatureSetError):
        await one.predictor.predict_bar(VersionRef("toy", "9.0.0"), *key(9))


async def test_changed_source(setup, caplog):
    """A version whose feature set is installed with another source makes no predictions."""
    one = setup(digest="1" * 64)
    one.push("A", slice(8), 1000)
    assert await one.start() == {}
    assert "its source has changed" in caplog.text


async def test_missing_feature_set(caplog):
    """A feature set that is not installed is reported, and nothing else fails."""

    def missing(name):
        raise UnknownFeatureSetError(name, [])

    publications = Publications()
    predictor = LivePredictor(FakeBarLog(), Backends(lambda _: Sums()), missing, publications)
    await predictor.adopt([served()], Markets())
    assert "no predictions with the feature set toy" in caplog.text


@pytest.mark.parametrize("error", [BarsUnavailableError("no answer"), RuntimeError("no answer")])
async def test_unavailable_log(setup, error):
    """While the log cannot be read, the problem is reported, and following goes on afterwards."""
    one = setup()
    one.push("A", slice(8), 1000)
    await one.start()
    original = one.log.changes_since

    async def unavailable(cursor, wait_s):
        raise error

    one.log.changes_since = unavailable
    await asyncio.sleep(0.5)  # longer than the wait of the fake log
    assert "no answer" in one.predictor.problem()
    one.log.changes_since = original
    one.push("A", slice(8, 9), 1001)
    assert (await one.results())[key(8)].prediction()
    assert await one.nothing()
    assert one.predictor.problem() is None


def test_toy_needs():
    """The toy versions need five bars."""
    assert TOY.lookback + served().input_shape[0] - 1 == NEEDED
    assert TOY.timeframe == HOURLY
