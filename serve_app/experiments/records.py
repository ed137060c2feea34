"""What an experiment is made of: predictions that were answered and outcomes that came later."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from registry.records import DIRECTIONS
from serve_app.errors import InvalidRequestError

HOLD, BUY, SELL = (DIRECTIONS[label] for label in ("HOLD", "BUY", "SELL"))

POSITION = {HOLD: 0, BUY: 1, SELL: -1}
"""What a direction holds of the market: a BUY earns r, a SELL -r, a HOLD nothing."""

LARGEST_RETURN = 1000.0
"""A market return beyond this many times the stake is taken for a price or a slip, and refused."""

LARGEST_LATENCY_MS = 1e9
"""Eleven days; whatever is beyond is no latency."""


class Variant(StrEnum):
    """A variant of an experiment."""

    CONTROL = "control"
    TREATMENT = "treatment"


CIRCUIT_OPEN = "circuit_open"
"""The error of a request that treatment would have answered, had its circuit breaker not been open.

It says nothing of treatment beyond the failures that opened the breaker, which were recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """One prediction of one version, answered or failed.

    In mirror mode both variants answer a request and their two records share its `prediction_id`,
    so that a record is known by (prediction_id, variant).

    Raises:
        InvalidRequestError: a field is out of its range, or the record holds neither a direction
            nor an error, or both.
    """

    prediction_id: str
    time: datetime
    """When the request came, with its time zone; UTC by convention."""
    model: str
    version: str
    symbol: str
    latency_ms: float
    experiment_id: str | None = None
    variant: Variant | None = None
    treatment_share: float | None = None
    """The chance of treatment at the moment of assignment; it changes under staged exposure. None
    outside an experiment and in mirror mode."""
    direction: int | None = None
    """0 HOLD, 1 BUY, 2 SELL; None when the version failed."""
    confidence: float | None = None
    expected_return: float | None = None
    error: str | None = None
    """Code of the error when the version failed."""
    mirrored: bool = False
    """Whether both variants answered the request, and the bot got control's answer."""
    unit_id: str | None = None
    """Whom the request named as its unit, usually a bot."""

    def __post_init__(self) -> None:
        _check_time("time", self.time)
        _check_range("latency_ms", self.latency_ms, 0.0, LARGEST_LATENCY_MS)
        if (self.experiment_id is None) != (self.variant is None):
            raise InvalidRequestError(
                "variant",
                "a variant with an experiment_id, neither outside an experiment",
                f"variant {self.variant} with experiment_id {self.experiment_id!r}",
            )
        if self.direction is not None and self.direction not in POSITION:
            raise InvalidRequestError("direction", "0, 1 or 2", repr(self.direction))
        if (self.direction is None) == (self.error is None):
            raise InvalidRequestError(
                "direction",
                "either a direction or an error",
                f"direction {self.direction!r} with error {self.error!r}",
            )
        if self.treatment_share is not None:
            _check_range("treatment_share", self.treatment_share, 0.0, 1.0)

    @property
    def key(self) -> tuple[str, str]:
        """What no two records share: (prediction_id, variant or empty)."""
        return self.prediction_id, self.variant or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the market did after a prediction.

    Raises:
        InvalidRequestError: the return is not finite or beyond LARGEST_RETURN, or the time has no
            time zone.
    """

    prediction_id: str
    market_return: float
    """The market's return over the horizon as a fraction, signed by the market, not by the
    trade: 0.01 when it rose by one per cent."""
    time: datetime
    """When the outcome arrived, with its time zone."""

    def __post_init__(self) -> None:
        _check_time("time", self.time)
        _check_range("market_return", self.market_return, -LARGEST_RETURN, LARGEST_RETURN)


def market_class(market_return: float, dead_band: float) -> int:
    """Return the direction that was right: HOLD when |market_return| <= dead_band, else its sign's.

    Args:
        market_return: as a fraction.
        dead_band: in the same unit, not negative.
    """
    if abs(market_return) <= dead_band:
        return HOLD
    return BUY if market_return > 0 else SELL


def _check_time(field: str, time: datetime) -> None:
    if time.tzinfo is None:
        raise InvalidRequestError(field, "a time with its time zone", time.isoformat())


def _check_range(field: str, value: float, lowest: float, highest: float) -> None:
    if not (math.isfinite(value) and lowest <= value <= highest):
        expected = f"a finite number from {lowest:g} to {highest:g}"
        raise InvalidRequestError(field, expected, repr(value))
