"""Requests by symbol for which the server has no window, or only one that is too old."""

from collections.abc import Sequence

from serve_app.errors.base import RequestError, UnavailableError

MAX_SHOWN = 5
"""The most missing bars that a message lists; the error has more."""


class WindowError(RequestError):
    """The server has no window for the request that the model can use now."""


class StaleFeaturesError(WindowError):
    """The last bar of the window is older than the request allows."""

    code = "stale_features"

    def __init__(
        self, symbol: str, timeframe: str, bar: str, age_s: float, max_age_s: float | None
    ) -> None:
        super().__init__(symbol, timeframe, bar, age_s, max_age_s)
        self.symbol, self.timeframe, self.bar = symbol, timeframe, bar
        self.age_s, self.max_age_s = age_s, max_age_s

    def __str__(self) -> str:
        allowed = "one and a half timeframes of an open market"
        if self.max_age_s is not None:
            allowed = f"{self.max_age_s:g} s"
        return (
            f"the last {self.timeframe} bar of {self.symbol}, {self.bar}, ended {self.age_s:.1f} s "
            f"ago, expected at most {allowed}; push the bars since then, or allow more with "
            f"max_age_s"
        )


class IncompleteWindowError(WindowError):
    """Bars that the window needs are missing."""

    code = "incomplete_window"

    def __init__(
        self, symbol: str, timeframe: str, bar: str, needed: int, missing: Sequence[str], count: int
    ) -> None:
        super().__init__(symbol, timeframe, bar, needed, tuple(missing), count)
        self.symbol, self.timeframe, self.bar = symbol, timeframe, bar
        self.needed, self.missing, self.count = needed, tuple(missing), count

    def __str__(self) -> str:
        shown = ", ".join(self.missing[:MAX_SHOWN])
        more = ", …" if self.count > MAX_SHOWN else ""
        return (
            f"the window of {self.symbol} that ends with the {self.timeframe} bar {self.bar} lacks "
            f"{self.count} of the {self.needed} bars that it needs: {shown}{more}; push them, or "
            f"set the symbol's calendar (markets.symbols) if its market was closed"
        )


class NoFeatureSetError(WindowError):
    """The version names no feature set, so that the server cannot compute its windows."""

    code = "no_feature_set"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(model, version)
        self.model, self.version = model, version

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} names no feature set; send features, or register a "
            f"version with one"
        )


class WindowsUnavailableError(UnavailableError):
    """The process that makes predictions by symbol does not respond."""

    code = "windows_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the predictor of symbols is unavailable: {self.problem}; retry in "
            f"{self.retry_after_s} s, or send features"
        )
