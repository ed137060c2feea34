"""The responses of the core, which front ends encode. Frozen values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import LiveResult
from serve_app.errors import ServingError
from serve_app.experiments.records import Variant
from serve_app.versions import VersionRef


class PredictionResponse(NamedTuple):
    """A prediction and its origin; a tuple, since one is created per request."""

    prediction_id: str
    """Identifies the prediction when its outcome is reported."""
    symbol: str
    prediction: Prediction
    version: VersionRef
    """The version that computed the prediction."""
    time: datetime
    latency_ms: float
    """The server-side latency of the request, measured from the end of its body."""
    variant: Variant | None = None
    """The variant of the experiment that routed the request; None outside experiments."""
    fallback: bool = False
    """Whether control responded because treatment failed or took too long."""
    window: LiveResult | None = None
    """The server's window of which it is the prediction; None if the request had features."""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """A request of a batch that has no prediction."""

    symbol: str | None
    """None if the request names no valid symbol."""
    error: ServingError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResponse:
    """The responses to a batch, in the order of its requests."""

    items: Sequence[PredictionResponse | FailedItem]
    latency_ms: float
    """The server-side time of the whole batch."""

    @property
    def failed(self) -> int:
        """The number of requests without a prediction."""
        return sum(isinstance(item, FailedItem) for item in self.items)

    @property
    def succeeded(self) -> int:
        """The number of requests with a prediction."""
        return len(self.items) - self.failed
