"""The client of the predictor of symbols: a router follows its results, with typed errors."""

import asyncio
import logging
from typing import Any

from ray.actor import ActorHandle

from serve_app.data_plane.live_results import (
    LiveResult,
    LiveTable,
    LiveWindow,
    Position,
    Publication,
)
from serve_app.data_plane.live_stream import LiveStream
from serve_app.data_plane.series_windows import SeriesPart, SeriesRange
from serve_app.deployments.live_predictor import live_predictor
from serve_app.deployments.ray_errors import RAY_ERRORS, cause_of
from serve_app.errors import ServingError, WindowsUnavailableError
from serve_app.timeouts import LIVE_CALL_S, LIVE_FOLLOW_S, LIVE_SERIES_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

RETRY_S = 0.2
"""Pause after a call that failed: the predictor restarts by itself."""


class LivePredictorClient:
    """Follows and calls the predictor of an application, once `start` has been called.

    Args:
        registry_root: the registry's folder, as in the settings.
        application: the application.
    """

    def __init__(self, registry_root: str, application: str) -> None:
        self._registry_root = registry_root
        self._application = application
        self._actor: ActorHandle[Any] | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """Whether a version makes predictions by symbol, so that the predictor runs."""
        return self._following is not None

    def start(self, table: LiveTable, stream: LiveStream) -> None:
        """Start the predictor if it does not run, and pass its results on from now on."""
        if self._following is None:
            loop = asyncio.get_running_loop()
            self._following = loop.create_task(self._follow_forever(table, stream))

    async def problem(self) -> str | None:
        """Return why no predictions are made, None while they are, or while none are to be made."""
        if self._following is None:
            return None
        found: str | None = await self._call("problem", timeout_s=LIVE_CALL_S)
        return found

    async def predict_bar(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveResult:
        """Return the result of a version for the window that ends with a known bar.

        Raises:
            WindowsUnavailableError: the predictor does not respond.
            ServingError: the version has no prediction for the bar.
        """
        result: LiveResult = await self._call(
            "predict_bar", version, symbol, bar_ms, timeout_s=LIVE_CALL_S
        )
        return result

    async def window(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveWindow:
        """Return the window of a version that ends with a known bar.

        Raises:
            WindowsUnavailableError: the predictor does not respond.
            ServingError: the window is incomplete, or cannot be computed.
        """
        window: LiveWindow = await self._call(
            "window", version, symbol, bar_ms, timeout_s=LIVE_CALL_S
        )
        return window

    async def series(self, version: VersionRef, wanted: SeriesRange) -> SeriesPart:
        """Return the windows of a version at the first bars of a range.

        Raises:
            WindowsUnavailableError: the predictor does not respond.
            ServingError: the version has no windows, or the range has too many bars.
        """
        part: SeriesPart = await self._call("series", version, wanted, timeout_s=LIVE_SERIES_S)
        return part

    async def _follow_forever(self, table: LiveTable, stream: LiveStream) -> None:
        position: Position | None = None
        while True:
            try:
                if self._actor is None:
                    self._actor = await asyncio.to_thread(
                        live_predictor, self._registry_root, self._application
                    )
                publication: Publication | None = await self._call(
                    "since", position, LIVE_FOLLOW_S, timeout_s=LIVE_FOLLOW_S + LIVE_CALL_S
                )
            except ServingError as error:
                logger.warning("predictions by symbol not followed: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            # The router keeps serving whatever happens here; the health reports it.
            except Exception:
                logger.exception("predictions by symbol not followed")
                await asyncio.sleep(RETRY_S)
                continue
            if publication is not None:
                stream.publish(table.apply(publication))
                position = publication.position

    async def _call(self, method: str, *args: object, timeout_s: float) -> Any:  # noqa: ANN401
        if self._actor is None:
            raise WindowsUnavailableError("it is being started")
        try:
            async with asyncio.timeout(timeout_s):
                return await getattr(self._actor, method).remote(*args)
        except TimeoutError:
            raise WindowsUnavailableError(f"no response within {timeout_s:g} s") from None
        except RAY_ERRORS as error:
            cause = cause_of(error)
            if isinstance(cause, ServingError):
                raise cause from None
            raise WindowsUnavailableError(repr(cause)[:200]) from error
