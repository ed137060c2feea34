"""The calls of ModelClient on bars."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from serve_app.client.calls import Calls
from serve_app.client.encoding import Body
from serve_app.client.responses import check_bars, check_list, check_push
from serve_app.errors import InvalidRequestError

BARS_PER_BODY = 20_000
"""The most bars in one body, about 2.5 MB; more are sent in several, one after the other."""

ARROW = "application/vnd.apache.arrow.stream"

_BARS = "/api/ml/bars"
_COUNTS = ("accepted", "duplicates", "revised")


class BarCalls(Calls):
    """Calls on bars; a bar that is sent again counts as a duplicate, so that retries are safe."""

    async def push_bars(
        self, symbol: str, timeframe: str, bars: Iterable[Mapping[str, object]]
    ) -> dict[str, Any] | None:
        """Store bars of one symbol; return once they are committed.

        Args:
            symbol: the symbol, for example EURUSD.
            timeframe: the length of the bars, for example 1h.
            bars: mappings with `time`, the bar's opening (ISO 8601 with a zone, an aware datetime,
                or milliseconds since 1970), `open`, `high`, `low`, `close` and `volume`, and
                optionally `is_final`.

        Returns:
            The numbers of bars that were `accepted`, `duplicates` and `revised`, and the `rejected`
            ones with `index` and `reason`; None if the call fails. Some of many bars may be stored
            then: send all of them again.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
            InvalidRequestError: the bars cannot be sent; likewise.
        """
        with self._report_failure(f"push_bars {symbol}"):
            items = list(bars)
            responses = []
            for start in range(0, max(len(items), 1), BARS_PER_BODY):
                rows = items[start : start + BARS_PER_BODY]
                fields = {"symbol": symbol, "timeframe": timeframe, "bars": rows}
                response = await self._push(fields)
                for entry in response["rejected"]:
                    entry["index"] += start
                responses.append(response)
            return _total(responses)
        return None

    async def push_all_bars(self, pushes: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Store bars of several symbols together; return once they are committed.

        Args:
            pushes: mappings with `symbol`, `timeframe` and `bars`, as the arguments of `push_bars`.

        Returns:
            The response of `push_bars`; rejected bars also have the position of their `push`.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
            InvalidRequestError: the bars cannot be sent; likewise.
        """
        with self._report_failure("push_all_bars"):
            responses = []
            for pieces in _bodies(list(pushes)):
                response = await self._push({"pushes": [piece.fields for piece in pieces]})
                for entry in response["rejected"]:
                    piece = pieces[entry["push"]]
                    entry["push"], entry["index"] = piece.push, entry["index"] + piece.start
                responses.append(response)
            return _total(responses)
        return None

    async def push_stream(
        self, content: bytes, symbol: str | None = None, timeframe: str | None = None
    ) -> dict[str, Any] | None:
        """Store the bars of an Arrow IPC stream, the fast path for history.

        Args:
            content: the stream, uncompressed, with the columns `time` and those of a bar.
            symbol: the symbol of all bars, unless the stream has a column `symbol`.
            timeframe: their timeframe, unless the stream has a column `timeframe`.

        Returns:
            The response of `push_bars`; `index` is the row of the stream.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure("push_stream"):
            fields = {"symbol": symbol, "timeframe": timeframe}
            response = await self._post(_BARS, Body(content, ARROW, _query(fields)))
            return check_push(self.server_url, response)
        return None

    async def get_bars(
        self,
        symbol: str,
        timeframe: str | None = None,
        *,
        start: datetime | str | int | None = None,
        end: datetime | str | int | None = None,
        known_at: datetime | str | int | None = None,
        limit: int | None = None,
    ) -> dict[str, Any] | None:
        """Return bars by time, as known now or at an earlier time.

        Args:
            symbol: the symbol.
            timeframe: their timeframe; None if the symbol has only one.
            start: the first bar; None for the newest bars up to `end`.
            end: the last bar.
            known_at: the time of the view; None for now.
            limit: the most bars, 1000 by default.

        Returns:
            The `bars`, their `gaps`, and `next`, the `start` of the next page; None if the call
            fails.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure(f"get_bars {symbol}"):
            fields = {
                "timeframe": timeframe,
                "from": start,
                "to": end,
                "known_at": known_at,
                "limit": limit,
            }
            if not isinstance(symbol, str) or not symbol:
                raise InvalidRequestError("symbol", "text, for example EURUSD", repr(symbol)[:40])
            response = await self._get(f"{_BARS}/{quote(symbol, safe='')}?{_query(fields)}")
            return check_bars(self.server_url, response)
        return None

    async def symbols(self) -> list[dict[str, Any]]:
        """Return what the server has of each symbol and timeframe; empty also if the call fails.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure("symbols"):
            response = await self._get("/api/ml/symbols")
            return check_list(self.server_url, response, "symbols")
        return []

    async def _push(self, fields: Mapping[str, object]) -> dict[str, Any]:
        response = await self._post(_BARS, Body(_encode(fields)))
        return check_push(self.server_url, response)


class _Piece(NamedTuple):
    """Some bars of a push."""

    push: int
    start: int
    """The position of the first of them."""
    fields: Mapping[str, Any]


def _bodies(pushes: Sequence[Mapping[str, Any]]) -> Iterator[list[_Piece]]:
    """Yield the pushes in parts of at most BARS_PER_BODY bars, in their order."""
    body: list[_Piece] = []
    left = BARS_PER_BODY
    for number, push in enumerate(pushes):
        if not isinstance(push, Mapping) or "bars" not in push:
            expected = "a mapping with symbol, timeframe and bars"
            raise InvalidRequestError(f"pushes.{number}", expected, type(push).__name__)
        bars = list(push["bars"])
        start = 0
        while True:
            rows = bars[start : start + left]
            body.append(_Piece(number, start, {**push, "bars": rows}))
            left -= len(rows)
            start += len(rows)
            if left == 0:
                yield body
                body, left = [], BARS_PER_BODY
            if start >= len(bars):
                break
    if body or not pushes:
        yield body


def _total(responses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {
        name: sum(response[name] for response in responses) for name in _COUNTS
    }
    total["rejected"] = [entry for response in responses for entry in response["rejected"]]
    rejected = sum(
        response.get("rejected_total", len(response["rejected"])) for response in responses
    )
    if rejected > len(total["rejected"]):
        total["rejected_total"] = rejected
    return total


def _encode(fields: Mapping[str, object]) -> bytes:
    try:
        # NaN becomes null, which the server rejects with the bar's position.
        return orjson.dumps(fields, default=_encode_time, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError("bars", "fields that JSON can represent", str(error)) from None


def _encode_time(value: object) -> str:
    """Return a subclass of datetime, such as pandas' Timestamp, as text."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")


def _query(fields: Mapping[str, object]) -> str:
    return urlencode(
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in fields.items()
            if value is not None
        }
    )
