"""Errors of bars, their files and what names them."""

from collections.abc import Sequence

from features.errors.base import FeaturesError


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


class InvalidCalendarError(FeaturesError):
    """The texts are no calendar of a market."""

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(field, expected, received)
        self.field, self.expected, self.received = field, expected, received

    def __str__(self) -> str:
        return (
            f"expected {self.expected} as {self.field} of a calendar, received "
            f"{self.received[:80]!r}; correct the calendar"
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


class UnknownSeriesError(FeaturesError):
    """The log has no bars of the symbol and timeframe."""

    def __init__(self, symbol: str, timeframe: str, known: Sequence[str]) -> None:
        super().__init__(symbol, timeframe, tuple(known))
        self.symbol, self.timeframe, self.known = symbol, timeframe, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known[:20]) or "none"
        return (
            f"the log has no bars of {self.symbol[:80]!r} with the timeframe {self.timeframe}; "
            f"import some, or use one of these: {known}"
        )


class InvalidLabelRuleError(FeaturesError):
    """The rule of the labels is not valid."""

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(field, expected, received)
        self.field, self.expected, self.received = field, expected, received

    def __str__(self) -> str:
        return (
            f"cannot label returns: expected {self.expected} as {self.field}, received "
            f"{self.received}; correct {self.field}"
        )


class BarFileError(FeaturesError):
    """A file of bars cannot be read or written."""

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)
        self.path, self.problem, self.remedy = path, problem, remedy

    def __str__(self) -> str:
        return f"cannot use {self.path}: {self.problem}; {self.remedy}"


class MissingPackageError(FeaturesError):
    """The library that a feature needs is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(feature, package, extra)
        self.feature, self.package, self.extra = feature, package, extra

    def __str__(self) -> str:
        return (
            f"{self.feature} needs {self.package}, which is not installed; "
            f"install tradeserve[{self.extra}]"
        )
