"""Predictions of many windows of one series in one request, as a backtest makes them."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from features.bars import LATEST_MS
from registry.predictors import Windows
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.data_plane.predictions import PredictionService
from serve_app.data_plane.routes import Route, Routes
from serve_app.data_plane.series_windows import MAX_PREDICTIONS, SeriesRange, SeriesSource
from serve_app.data_plane.windows import as_window
from serve_app.errors import (
    BodyTooLargeError,
    InvalidFeaturesError,
    InvalidRequestError,
    ModelOutputError,
    NoFeatureSetError,
)
from serve_app.versions import VersionRef

WINDOWS_PER_RUN = 32
"""The windows of one run of the model: other requests wait for at most one run."""


class SeriesRequest(NamedTuple):
    """A request for the predictions of a series: bars of a symbol, or rows of features."""

    symbol: str | None = None
    features: NDArray[np.float64] | None = None
    """Rows, one per bar, flat or as a matrix; None for the server's own windows."""
    model_name: str | None = None
    model_version: str | None = None
    timeframe: str | None = None
    first_ms: int | None = None
    last_ms: int = LATEST_MS
    known_at_ms: int = LATEST_MS


class SeriesEntry(NamedTuple):
    """What the model made of one window of the series."""

    bar_ms: int | None
    """The opening of the window's last bar; None for rows of features."""
    as_of_ms: int | None
    """When the last of the window's bars became known; None without a complete window."""
    row: int | None
    """The position of the window's last row among those of the request; None for bars."""
    outcome: Prediction | str
    """The code of an error for a window without a prediction."""


@dataclass(frozen=True, slots=True)
class SeriesResponse:
    """The predictions of a series, which are not recorded."""

    version: VersionRef
    symbol: str | None
    timeframe: str | None
    entries: Sequence[SeriesEntry]
    """One per bar of the range, or per window of the rows, in their order."""


class SeriesService:
    """Serves series, one at a time, in runs of the model between which other requests proceed.

    A series follows no experiment, and its predictions are not recorded: no bot acted on them.

    Args:
        predictions: reports whether the router may serve.
        routes: resolve a request to a version and its backend.
        source: computes the server's own windows.
    """

    def __init__(
        self, predictions: PredictionService, routes: Routes, source: SeriesSource
    ) -> None:
        self._predictions = predictions
        self._routes = routes
        self._source = source
        self._turn = asyncio.Lock()

    async def predict(self, request: SeriesRequest) -> SeriesResponse:
        """Serve a request.

        Raises:
            ServingError: the request is invalid, or the version or the bars are unavailable.
        """
        await self._predictions.confirm()
        async with self._turn:
            route = await self._routes.find(request.model_name, request.model_version)
            if request.features is not None:
                return await self._predict_rows(route, request, request.features)
            return await self._predict_bars(route, request)

    async def _predict_rows(
        self, route: Route, request: SeriesRequest, features: NDArray[np.float64]
    ) -> SeriesResponse:
        rows = as_rows(features, route)
        timesteps = route.metadata.input_shape[0]
        outcomes = await self._run(route, list(_windows(rows, timesteps)))
        entries = [
            SeriesEntry(None, None, row, outcome)
            for row, outcome in enumerate(outcomes, start=timesteps - 1)
        ]
        return SeriesResponse(route.version, request.symbol, None, entries)

    async def _predict_bars(self, route: Route, request: SeriesRequest) -> SeriesResponse:
        if route.metadata.feature_set is None:
            raise NoFeatureSetError(*route.version)
        if request.symbol is None or request.first_ms is None:
            raise InvalidRequestError("request", "symbol and from, or features", "neither")
        timesteps = route.metadata.input_shape[0]
        entries: list[SeriesEntry] = []
        following_ms: int | None = request.first_ms
        timeframe = None
        while following_ms is not None:
            part = await self._source.series(
                route.version,
                SeriesRange(
                    request.symbol,
                    following_ms,
                    request.last_ms,
                    request.timeframe,
                    request.known_at_ms,
                    MAX_PREDICTIONS - len(entries),
                ),
            )
            windows: list[Windows] = []
            places: list[int] = []
            for run in part.runs:
                found = list(_windows(run.rows, timesteps))
                windows += found
                places += range(run.first, run.first + len(found))
            outcomes = dict(zip(places, await self._run(route, windows), strict=True))
            bars = zip(part.time.tolist(), part.as_of_ms.tolist(), strict=True)
            entries += [
                SeriesEntry(
                    bar_ms, as_of_ms or None, None, outcomes.get(place) or part.problems[place]
                )
                for place, (bar_ms, as_of_ms) in enumerate(bars)
            ]
            timeframe, following_ms = part.timeframe, part.following_ms
        return SeriesResponse(route.version, request.symbol, timeframe, entries)

    async def _run(self, route: Route, windows: Sequence[Windows]) -> list[Prediction | str]:
        outcomes: list[Prediction | str] = []
        for start in range(0, len(windows), WINDOWS_PER_RUN):
            batch = np.stack(windows[start : start + WINDOWS_PER_RUN])
            batch = batch.astype(route.metadata.input_type, copy=False)
            results = await route.ready_backend().predict_many(batch)
            outcomes += [
                ModelOutputError.code if isinstance(result, Failure) else result
                for result in results
            ]
            await asyncio.sleep(0)
        return outcomes


def as_rows(features: NDArray[np.float64], route: Route) -> Windows:
    """Return rows of features in the type of the model's input.

    Raises:
        InvalidFeaturesError: they do not fit the model, or are fewer than a window has.
        BodyTooLargeError: they have more windows than MAX_PREDICTIONS.
    """
    timesteps, columns = route.metadata.input_shape
    if features.size < timesteps * columns or features.size % columns:
        expected = f"at least {timesteps} rows of {columns} numbers"
        raise InvalidFeaturesError("features", expected, f"{features.size} numbers")
    rows = features.size // columns
    if rows - timesteps + 1 > MAX_PREDICTIONS:
        raise BodyTooLargeError("rows of features", MAX_PREDICTIONS + timesteps - 1, rows)
    # All rows are checked as one window of the model would be.
    metadata = route.metadata.model_copy(update={"input_shape": (rows, columns)})
    return as_window(features, metadata)


def _windows(rows: Windows, timesteps: int) -> Iterator[Windows]:
    """Yield the windows of consecutive rows, as views."""
    yield from sliding_window_view(rows, timesteps, axis=0).swapaxes(1, 2)
