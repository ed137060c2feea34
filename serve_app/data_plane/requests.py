"""The requests that every front end builds and the core serves. Frozen values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serve_app.data_plane.responses import FailedItem


class PredictionRequest(NamedTuple):
    """A request for the prediction of one window; a tuple, since one is created per request.

    Front ends, the router's handle and the client accept these fields under these names.
    """

    symbol: str
    """The traded instrument, for example BTCUSDT."""
    features: object = None
    """The numbers of the window, flat in row order or as a matrix, in a list or an array. They are
    checked against the input shape of the model once its version is known. None selects the
    server's own window of the symbol."""
    model_name: str | None = None
    """None selects the server's default model."""
    model_version: str | None = None
    """A version or the name of a stage; None selects production."""
    unit_id: str | None = None
    """Keeps a bot in one variant of an experiment."""
    timeframe: str | None = None
    """The timeframe of the server's window; None for that of the model's features."""
    bar: int | None = None
    """The last bar of the server's window, by its opening in milliseconds since 1970; None selects
    the newest one."""
    max_age_s: float | None = None
    """The longest time since the end of that bar; None for one and a half timeframes of an open
    market, or for any time if the request names the bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A list of requests for predictions, each of which succeeds or fails on its own."""

    items: Sequence[PredictionRequest | FailedItem]
    """A request that the front end could not decode is a failed item and keeps its position."""
    max_batch_size: int = 32
    """The largest number of windows in one run of a model; at least 1."""
