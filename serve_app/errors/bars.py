"""Bars, and the log that stores them."""

from collections.abc import Sequence

from serve_app.errors.base import RequestError, UnavailableError

MAX_LISTED = 20
"""The most known symbols that a message lists; the error has all."""


class UnknownSymbolError(RequestError):
    """The server has no bars of the symbol, or none of the timeframe."""

    code = "unknown_symbol"

    def __init__(self, symbol: str, timeframe: str | None, known: Sequence[str]) -> None:
        super().__init__(symbol, timeframe, tuple(known))
        self.symbol, self.timeframe, self.known = symbol, timeframe, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known[:MAX_LISTED]) or "none"
        which = "" if self.timeframe is None else f" with the timeframe {self.timeframe}"
        return (
            f"the server has no bars of {self.symbol!r}{which}; push some, or use one of these: "
            f"{known}"
        )


class BarsUnavailableError(UnavailableError):
    """The bar log does not respond, or cannot be read or written; nothing was acknowledged."""

    code = "bars_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the bar log is unavailable: {self.problem}; nothing was acknowledged, send the same "
            f"bars again in {self.retry_after_s} s: those that are stored count as duplicates"
        )
