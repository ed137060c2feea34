"""The errors of market data, as one tree.

    FeaturesError
    ├── InvalidSymbolError          the text cannot name a symbol
    ├── UnknownTimeframeError       the text names no timeframe
    ├── InvalidTimeError            the value is no time, or has no time zone
    └── InvalidColumnsError         the columns of bars do not fit together

Errors carry data, are rebuilt from `args` after pickling, and are independent of HTTP.
"""

from collections.abc import Sequence


class FeaturesError(Exception):
    """Base class of all errors of market data."""


class InvalidSymbolError(FeaturesError):
    """The text cannot name a symbol."""

    def __init__(self, received: str) -> None:
        super().__init__(received)
        self.received = received

    def __str__(self) -> str:
        return (
            f"expected a symbol of 1 to 64 characters, such as 'EURUSD', 'BTC/USDT' or '^GSPC', "
            f"received {self.received[:80]!r}; use letters, digits and . _ - = : & + ^, and / "
            f"between two of these"
        )


class UnknownTimeframeError(FeaturesError):
    """The text names no timeframe."""

    def __init__(self, received: str, known: Sequence[str]) -> None:
        super().__init__(received, tuple(known))
        self.received, self.known = received, tuple(known)

    def __str__(self) -> str:
        return f"unknown timeframe {self.received[:80]!r}; use one of {', '.join(self.known)}"


class InvalidTimeError(FeaturesError):
    """The value is no time, or has no time zone."""

    def __init__(self, received: str, problem: str) -> None:
        super().__init__(received, problem)
        self.received, self.problem = received, problem

    def __str__(self) -> str:
        return (
            f"expected a time, received {self.received[:80]!r}, {self.problem}; use ISO 8601 with "
            f"a zone, such as 2026-01-05T09:00:00Z, or milliseconds since 1970"
        )


class InvalidColumnsError(FeaturesError):
    """The columns of bars do not fit together."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the columns are not bars: {self.problem}; pass time, open, high, low, close and "
            f"volume as one-dimensional numbers of one length"
        )
