"""The records of an experiment: predictions, and the outcomes that follow them."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from features.labels import BUY, HOLD, SELL
from serve_app.errors import InvalidRequestError

POSITION = {HOLD: 0, BUY: 1, SELL: -1}
"""The position of each direction: a BUY earns r, a SELL -r, a HOLD nothing."""

LARGEST_RETURN = 1000.0
"""A market return beyond this many times the stake is a price or an input error, and is
rejected."""

MAX_OUTCOMES = 10_000
"""The largest number of outcomes in one request."""

LARGEST_LATENCY_MS = 1e9
"""Eleven days; a larger value is no latency."""


class Variant(StrEnum):
    """A variant of an experiment."""

    CONTROL = "control"
    TREATMENT = "treatment"


CIRCUIT_OPEN = "circuit_open"
"""The error of a request that treatment's open circuit breaker rejected.

It carries no information about treatment beyond the recorded failures that opened the breaker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """One prediction of one version, successful or failed.

    In mirror mode both variants process a request and their two records share its `prediction_id`,
    so that a record is identified by (prediction_id, variant).

    Raises:
        InvalidRequestError: a field is out of its range, or the record has neither a direction nor
            an error, or both.
    """

    prediction_id: str
    time: datetime
    """The arrival time of the request, with its time zone; UTC by convention."""
    model: str
    version: str
    symbol: str
    latency_ms: float
    experiment_id: str | None = None
    variant: Variant | None = None
    treatment_share: float | None = None
    """The probability of treatment at the time of assignment, which changes with exposure steps.
    None outside an experiment and in mirror mode."""
    direction: int | None = None
    """0 HOLD, 1 BUY, 2 SELL; None if the version failed."""
    confidence: float | None = None
    expected_return: float | None = None
    error: str | None = None
    """The error's code if the version failed."""
    mirrored: bool = False
    """Whether both variants received the request; the bot received control's response."""
    unit_id: str | None = None
    """The unit that the request names, usually a bot."""
    hold_probability: float | None = None
    """The probability of HOLD; like the other two, None if the version failed or has none."""
    buy_probability: float | None = None
    sell_probability: float | None = None
    timeframe: str | None = None
    """The timeframe of the server's window; None, like `bar`, if the request had features."""
    bar: datetime | None = None
    """The opening of the last bar of the server's window."""

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
        """The unique key of the record: (prediction_id, variant or empty)."""
        return self.prediction_id, self.variant or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The market's return after a prediction.

    Raises:
        InvalidRequestError: the return is not finite or beyond LARGEST_RETURN, or the time has no
            time zone.
    """

    prediction_id: str
    market_return: float
    """The market's return over the horizon as a fraction, with the sign of the market, not of the
    trade: 0.01 if the market rose by one per cent."""
    time: datetime
    """The arrival time of the outcome, with its time zone."""

    def __post_init__(self) -> None:
        _check_time("time", self.time)
        _check_range("market_return", self.market_return, -LARGEST_RETURN, LARGEST_RETURN)


def _check_time(field: str, time: datetime) -> None:
    if time.tzinfo is None:
        raise InvalidRequestError(field, "a time with its time zone", time.isoformat())


def _check_range(field: str, value: float, lowest: float, highest: float) -> None:
    if not (math.isfinite(value) and lowest <= value <= highest):
        expected = f"a finite number from {lowest:g} to {highest:g}"
        raise InvalidRequestError(field, expected, repr(value))
