"""Makes the predictions of all symbols, in one place for all routers."""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from features.bars import EARLIEST_MS, LATEST_MS, Ints, KnownBars
from features.calendars import Markets
from features.errors import FeaturesError, InvalidRowsError
from features.feature_sets import FeatureSet, InstalledFeatureSet, compute_rows
from registry.records import ModelMetadata
from serve_app.bars.changes import Change, Changes, Cursor
from serve_app.bars.queries import SeriesStatus
from serve_app.data_plane.backends import Backends
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.data_plane.live_results import Commit, LiveResult, LiveWindow
from serve_app.data_plane.series_windows import SeriesPart, SeriesRange
from serve_app.errors import (
    InvalidRequestError,
    ModelOutputError,
    NoFeatureSetError,
    PredictionFailedError,
    ServingError,
    UnavailableError,
    VersionLoadingError,
    WindowsUnavailableError,
)
from serve_app.live.publications import Publications
from serve_app.live.series import history_query, windows_of
from serve_app.live.views import BarQueries, View, first_view
from serve_app.live.windows import FeatureGroup, Job
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

RETRY_S = 0.5
"""Pause before a failed read of the bar log, or an unavailable version, is tried again."""

WAIT_S = 10.0
"""Longest wait of one call for the next bars."""

READS_AT_ONCE = 16
"""The symbols whose bars are read at the same time."""

VIEWS_APART = 16
"""The latest times of one batch of changes whose bars are added one after another, so that each
prediction is made from what was known when its bar arrived."""

TURNS = 3
"""Turns of the event loop in which the commits reach the followers, before rows are computed."""

KEPT_ON_REQUEST = 10_000
"""The predictions of older bars that are kept, so that all routers return the same ones."""


class BarLog(BarQueries, Protocol):
    """The bars that the predictor follows."""

    async def changes_since(self, cursor: Cursor | None, wait_s: float) -> Changes:
        """Return what was committed after a position, or wait for it."""

    async def symbols(self) -> Sequence[SeriesStatus]:
        """Return what the log has, by symbol and timeframe."""


class LivePredictor:
    """Follows the bar log, and makes the predictions of every version with a feature set.

    Args:
        log: the bar log.
        backends: run the versions.
        find_feature_set: returns the installed feature set with a name.
        publications: receives the results.
    """

    def __init__(
        self,
        log: BarLog,
        backends: Backends,
        find_feature_set: Callable[[str], InstalledFeatureSet],
        publications: Publications,
    ) -> None:
        self._log = log
        self._backends = backends
        self._find_feature_set = find_feature_set
        self._publications = publications
        self._groups: dict[str, FeatureGroup] = {}
        self._cursor: Cursor | None = None
        self._lock = asyncio.Lock()
        """Held while windows change, so that a group that is being read misses no commit."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_request: OrderedDict[tuple[VersionRef, str, int], asyncio.Task[LiveResult]] = (
            OrderedDict()
        )
        self._problem: str | None = "it has not read the bars yet"

    def problem(self) -> str | None:
        """Return why no predictions are made, None while they are."""
        return self._problem

    async def adopt(self, versions: Iterable[ModelMetadata], markets: Markets) -> None:
        """Make predictions of these versions from now on, if they name a feature set.

        Raises:
            ServingError: the bars cannot be read; the earlier versions keep their predictions.
        """
        by_name: dict[str, list[ModelMetadata]] = defaultdict(list)
        for metadata in versions:
            if metadata.feature_set is not None:
                by_name[metadata.feature_set.name].append(metadata)
        async with self._lock:
            groups: dict[str, FeatureGroup] = {}
            for name, sharing in by_name.items():
                held = self._groups.get(name)
                if held is not None and held.is_for(sharing, markets):
                    groups[name] = held
                    continue
                feature_set = self._load(name, sharing)
                if feature_set is not None:
                    groups[name] = FeatureGroup(feature_set, sharing, markets)
            self._publications.declare(
                {
                    version: group.feature_set.timeframe.name
                    for group in groups.values()
                    for version in group.versions
                }
            )
            await self._read([g for n, g in groups.items() if g is not self._groups.get(n)])
            self._groups = groups

    async def follow_forever(self) -> None:
        """Make the predictions of each bar that the log stores."""
        while True:
            try:
                await self._follow()
            except ServingError as error:
                if self._problem is None:
                    logger.error("bars not followed: %s", error)  # noqa: TRY400
                self._problem = str(error)
                await asyncio.sleep(RETRY_S)
            # Without this loop no prediction would be made again, so that it survives any error.
            except Exception as error:
                logger.exception("bars not followed, next attempt from the log")
                self._problem = repr(error)
                self._cursor = None
                await asyncio.sleep(RETRY_S)

    async def predict_bar(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveResult:
        """Return the result of a version for the window that ends with a known bar.

        Raises:
            NoFeatureSetError: the version makes no predictions by symbol.
            ServingError: the bars cannot be read.
        """
        key = version, symbol, bar_ms
        running = self._on_request.get(key)
        if running is None:
            running = asyncio.get_running_loop().create_task(self._predict_bar(*key))
            self._on_request[key] = running
            running.add_done_callback(lambda _: self._keep_on_request(key))
        return await asyncio.shield(running)

    async def window(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveWindow:
        """Return the window of a version that ends with a known bar.

        Raises:
            NoFeatureSetError: the version makes no predictions by symbol.
            IncompleteWindowError: the bar, or another one of its window, is not known.
            ServingError: the bars cannot be read, or the rows cannot be computed.
        """
        job, time = await self._job_of(version, symbol, bar_ms)
        if isinstance(job, LiveResult):
            assert isinstance(job.outcome, ServingError)
            raise job.outcome
        return LiveWindow(version, symbol, job.timeframe, job.as_of_ms, time, job.rows)

    async def series(self, version: VersionRef, wanted: SeriesRange) -> SeriesPart:
        """Return the windows of a version at the first bars of a range.

        Raises:
            WindowsUnavailableError: no predictions by symbol are made of the version yet.
            InvalidRequestError: the version has another timeframe, or the range too many bars.
            ServingError: the bars cannot be read.
        """
        try:
            group = self._group_of(version)
        except NoFeatureSetError:
            # The caller knows that it names one: the serving state has not arrived here.
            raise WindowsUnavailableError(f"it does not have {version} yet") from None
        rules = group.rules(version, wanted.symbol)
        timeframe = group.feature_set.timeframe
        if wanted.timeframe not in (None, timeframe.name):
            expected = f"{timeframe}, that of {version}"
            raise InvalidRequestError("timeframe", expected, repr(wanted.timeframe))
        history = await self._log.history(history_query(wanted, rules))
        return await windows_of(history, wanted.first_ms, rules)

    def _group_of(self, version: VersionRef) -> FeatureGroup:
        for group in self._groups.values():
            if version in group.versions:
                return group
        raise NoFeatureSetError(*version)

    async def _job_of(
        self, version: VersionRef, symbol: str, bar_ms: int
    ) -> tuple[Job | LiveResult, Ints]:
        """Return the window that ends with a known bar, with the times of its rows."""
        group = self._group_of(version)
        rules = group.rules(version, symbol)
        timeframe = group.feature_set.timeframe
        view = await first_view(self._log, symbol, timeframe, rules.bars, bar_ms)
        bars = view.bars
        if not len(bars) or bars.time[-1] != bar_ms:
            raise rules.incomplete(bar_ms, np.array([bar_ms], np.int64))
        rows = None
        if len(bars) >= group.feature_set.lookback:
            try:
                rows = compute_rows(group.feature_set, bars)
            except InvalidRowsError as error:
                return rules.job(bars.time, view.as_of_ms, error), bars.time[:0]
        return rules.job(bars.time, view.as_of_ms, rows), bars.time[-rules.timesteps :]

    def _load(self, name: str, versions: Sequence[ModelMetadata]) -> FeatureSet | None:
        """Return a feature set, None if the installed one is not that of the versions."""
        try:
            installed = self._find_feature_set(name)
        except FeaturesError as error:
            logger.error("no predictions with the feature set %s: %s", name, error)  # noqa: TRY400
            return None
        recorded = {one.feature_set.sha256 for one in versions if one.feature_set is not None}
        if recorded != {installed.source.sha256}:
            logger.error("no predictions with the feature set %s: its source has changed", name)
            return None
        return installed.feature_set

    async def _follow(self) -> None:
        changes = await self._log.changes_since(self._cursor, WAIT_S)
        async with self._lock:
            if changes.is_complete:
                await self._apply(changes.changes)
            else:
                await self._read(self._groups.values())
            self._cursor = changes.cursor
        self._problem = None
        self._publications.begin()

    async def _read(self, groups: Iterable[FeatureGroup]) -> None:
        """Read the newest bars of all symbols into groups, and publish their predictions."""
        statuses = await self._log.symbols()
        limit = asyncio.Semaphore(READS_AT_ONCE)
        for group in groups:
            timeframe = group.feature_set.timeframe.name
            symbols = [s.summary.symbol for s in statuses if s.summary.timeframe == timeframe]
            views = await asyncio.gather(*(self._view(group, name, limit) for name in symbols))
            for symbol, view in zip(symbols, views, strict=True):
                group.update({symbol: view.bars}, view.as_of_ms)
                await asyncio.sleep(0)  # calls proceed between the symbols of a long list
            # A router that starts must find a result for every symbol.
            unavailable = await asyncio.gather(
                *(self._publish(metadata, jobs) for metadata, jobs in self._jobs(group, symbols))
            )
            for metadata, jobs in unavailable:
                self._start(self._retry(metadata, jobs))
            for symbol, view in zip(symbols, views, strict=True):
                if view.latest is not view.bars and len(view.latest):
                    group.update({symbol: view.latest}, int(view.latest.known_at.max()))

    async def _view(self, group: FeatureGroup, symbol: str, limit: asyncio.Semaphore) -> View:
        async with limit:
            timeframe = group.feature_set.timeframe
            return await first_view(self._log, symbol, timeframe, group.bars, LATEST_MS)

    async def _apply(self, changes: Sequence[Change]) -> None:
        """Add committed bars, and make the predictions of those that are new."""
        self._publications.announce(
            [
                Commit(change.symbol, change.timeframe, int(change.stored.time[-1]))
                for change in changes
                if len(change.stored)
            ]
        )
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for group in self._groups.values():
            timeframe = group.feature_set.timeframe.name
            stored = [
                (change.symbol, change.stored)
                for change in changes
                if change.timeframe == timeframe and len(change.stored)
            ]
            for known_at_ms, bars in _by_time(stored):
                group.update(bars, known_at_ms)
                for metadata, jobs in self._jobs(group, bars):
                    self._start(self._run(metadata, jobs))

    def _jobs(
        self, group: FeatureGroup, symbols: Iterable[str]
    ) -> list[tuple[ModelMetadata, list[Job]]]:
        """Return the windows to predict per version; publish the results without a window."""
        jobs, failed = group.jobs(symbols)
        self._publications.add(failed)
        by_version: dict[VersionRef, list[Job]] = defaultdict(list)
        for job in jobs:
            by_version[job.version].append(job)
        return [(group.versions[version], some) for version, some in by_version.items()]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # A version that is slow or unavailable delays neither the windows nor the other versions.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, metadata: ModelMetadata, jobs: Sequence[Job]) -> None:
        await self._retry(*await self._publish(metadata, jobs))

    async def _retry(self, metadata: ModelMetadata, jobs: Sequence[Job]) -> None:
        """Publish the predictions of windows once their version is available."""
        while jobs:
            await asyncio.sleep(RETRY_S)
            metadata, jobs = await self._publish(metadata, jobs)

    async def _publish(
        self, metadata: ModelMetadata, jobs: Sequence[Job]
    ) -> tuple[ModelMetadata, Sequence[Job]]:
        """Publish the results of windows; return those for which the version was unavailable."""
        results = await self._outcomes(metadata, jobs)
        self._publications.add(results)
        unavailable = [
            job
            for job, result in zip(jobs, results, strict=True)
            if isinstance(result.outcome, UnavailableError) and self._publications.is_newest(result)
        ]
        return metadata, unavailable

    async def _outcomes(self, metadata: ModelMetadata, jobs: Sequence[Job]) -> list[LiveResult]:
        version = VersionRef.of(metadata)
        backend = self._backends.use(version)
        if backend is None or not backend.loaded():
            return [job.result(VersionLoadingError(*version)) for job in jobs]
        windows = np.stack([job.rows for job in jobs]).astype(metadata.input_type, copy=False)
        try:
            outputs = await backend.predict_many(windows)
        except ServingError as error:
            return [job.result(error) for job in jobs]
        # The results must arrive whatever happens: requests wait for them.
        except Exception as error:
            logger.exception("%s failed on windows of symbols", version)
            failure = PredictionFailedError.unexpected(*version, error)
            return [job.result(failure) for job in jobs]
        return [
            job.result(_outcome(version, output)) for job, output in zip(jobs, outputs, strict=True)
        ]

    async def _predict_bar(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveResult:
        job, _ = await self._job_of(version, symbol, bar_ms)
        if isinstance(job, LiveResult):
            return job
        metadata = self._group_of(version).versions[version]
        (result,) = await self._outcomes(metadata, [job])
        return result

    def _keep_on_request(self, key: tuple[VersionRef, str, int]) -> None:
        """Keep a prediction; forget errors, and the oldest of too many predictions."""
        task = self._on_request[key]
        if task.cancelled() or task.exception() or isinstance(task.result().outcome, ServingError):
            del self._on_request[key]
        while len(self._on_request) > KEPT_ON_REQUEST:
            self._on_request.popitem(last=False)


def _outcome(version: VersionRef, output: Prediction | Failure) -> Prediction | ServingError:
    if isinstance(output, Failure):
        return ModelOutputError(*version, output.problem)
    return output.with_run(None)  # it is none of the requests' times


def _by_time(
    stored: Sequence[tuple[str, KnownBars]],
) -> list[tuple[int, Mapping[str, KnownBars]]]:
    """Return bars by the time at which they became known, ascending; the first ones together."""
    times = sorted({known_at for _, bars in stored for known_at in bars.known_at.tolist()})
    steps: list[tuple[int, Mapping[str, KnownBars]]] = []
    earlier = EARLIEST_MS - 1
    for known_at in times[-VIEWS_APART:]:
        bars: dict[str, list[KnownBars]] = defaultdict(list)
        for symbol, rows in stored:
            is_part = (rows.known_at > earlier) & (rows.known_at <= known_at)
            if is_part.any():
                bars[symbol].append(rows if is_part.all() else rows.take(is_part))
        steps.append((known_at, {s: KnownBars.concat(parts) for s, parts in bars.items()}))
        earlier = known_at
    return steps
