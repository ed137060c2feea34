"""The predictor of symbols: one actor per application, on the head node beside the bar log."""

import asyncio
import logging
from typing import Any

from ray.actor import ActorHandle

from features.feature_sets import find_feature_set
from serve_app.data_plane.backends import Backends
from serve_app.data_plane.live_results import LiveResult, LiveWindow, Position, Publication
from serve_app.data_plane.series_windows import SeriesPart, SeriesRange
from serve_app.deployments.actors.bar_log import bar_log
from serve_app.deployments.actors.bar_log_client import BarLogClient
from serve_app.deployments.actors.head_actor import head_actor
from serve_app.deployments.actors.registry import registry_actor
from serve_app.deployments.opening import open_backend
from serve_app.deployments.ray_errors import RAY_ERRORS
from serve_app.errors import ServingError, WindowsUnavailableError
from serve_app.live.predictor import LivePredictor
from serve_app.live.publications import Publications
from serve_app.settings import AppSettings
from serve_app.state.serving import ServedVersion, ServingState
from serve_app.timeouts import STATE_FOLLOW_PERIOD_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

NAME_PREFIX = "predictor:"


class LivePredictorActor:
    """Makes the predictions of all symbols for the routers of one application.

    One process makes them, so that two routers never return different ones. It keeps nothing that
    the bar log does not have: after a restart it makes the same predictions again. Feature sets,
    which are code of users, run in this process only.
    """

    async def __init__(self, registry_root: str, application: str) -> None:  # type: ignore[misc]  # Ray awaits it
        self._registry_root = registry_root
        self._application = application
        self._publications = Publications()
        self._settings: AppSettings | None = None
        self._predictor: LivePredictor | None = None
        self._backends = Backends(self._open_backend)
        self._problem: str | None = "it has not read the serving state yet"
        loop = asyncio.get_running_loop()
        self._following = loop.create_task(self._follow_state())
        self._bars: asyncio.Task[None] | None = None

    async def problem(self) -> str | None:
        """Return why no predictions are made, None while they are; never waits."""
        for task in (self._following, self._bars):
            if task is not None and task.done():
                return f"a background task has ended: {task.exception()!r}"
        if self._problem is not None or self._predictor is None:
            return self._problem
        return self._predictor.problem()

    async def since(self, position: Position | None, wait_s: float) -> Publication | None:
        """Return the results after a position; wait for the next ones, None if there are none."""
        return await self._publications.since(position, wait_s)

    async def predict_bar(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveResult:
        """Return the result of a version for the window that ends with a known bar."""
        if self._predictor is None:
            raise WindowsUnavailableError(str(self._problem))
        return await self._predictor.predict_bar(version, symbol, bar_ms)

    async def window(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveWindow:
        """Return the window of a version that ends with a known bar."""
        if self._predictor is None:
            raise WindowsUnavailableError(str(self._problem))
        return await self._predictor.window(version, symbol, bar_ms)

    async def series(self, version: VersionRef, wanted: SeriesRange) -> SeriesPart:
        """Return the windows of a version at the first bars of a range."""
        if self._predictor is None:
            raise WindowsUnavailableError(str(self._problem))
        return await self._predictor.series(version, wanted)

    async def _follow_state(self) -> None:
        registry = await asyncio.to_thread(registry_actor, self._registry_root)
        revision = 0
        while True:
            try:
                state: ServingState | None = await registry.serving_state.remote(
                    self._application, revision
                )
                if state is not None:
                    await self._adopt(state)
                    revision = state.revision
                self._problem = None
            except (ServingError, *RAY_ERRORS) as error:
                logger.warning("serving state not followed: %s", error)
                self._problem = str(error)
            # Without this loop no new version would make predictions: it survives any error.
            except Exception as error:
                logger.exception("serving state not followed, next attempt later")
                self._problem = repr(error)
            await asyncio.sleep(STATE_FOLLOW_PERIOD_S)

    async def _adopt(self, state: ServingState) -> None:
        self._settings = state.settings
        if self._predictor is None:
            log = BarLogClient(await asyncio.to_thread(bar_log, state.settings))
            self._predictor = LivePredictor(
                log, self._backends, find_feature_set, self._publications
            )
        served = [version for version in state.versions if version.metadata.feature_set is not None]
        self._backends.adopt(served)
        await self._predictor.adopt(
            [version.metadata for version in served], state.settings.markets.markets()
        )
        if self._bars is None:
            loop = asyncio.get_running_loop()
            self._bars = loop.create_task(self._predictor.follow_forever())

    def _open_backend(self, version: ServedVersion) -> Any:  # noqa: ANN401
        assert self._settings is not None
        return open_backend(version, self._application, self._settings)


def live_predictor(registry_root: str, application: str) -> ActorHandle[Any]:
    """Return the predictor of symbols of an application; start it if necessary."""
    return head_actor(LivePredictorActor, f"{NAME_PREFIX}{application}", registry_root, application)
