"""The calls of ModelClient for series of predictions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from serve_app.client.calls import Calls
from serve_app.client.encoding import Body
from serve_app.client.responses import check_series
from serve_app.errors import InvalidRequestError


class SeriesCalls(Calls):
    """Calls for series, as a backtest makes them."""

    async def predict_series(
        self,
        symbol: str | None = None,
        *,
        start: datetime | str | int | None = None,
        end: datetime | str | int | None = None,
        features: object = None,
        model_name: str | None = None,
        model_version: str | None = None,
        timeframe: str | None = None,
        known_at: datetime | str | int | None = None,
    ) -> dict[str, Any] | None:
        """Return the predictions at many bars of a symbol, or for many rows of features.

        Args:
            symbol: the symbol; optional with features.
            start: the first bar; required without features.
            end: the last bar; None for the newest one.
            features: rows, one per bar: a list or a NumPy array, flat in row order or with two
                axes. None for the server's own windows.
            model_name: None for the server's default model.
            model_version: a version or a stage; None for production.
            timeframe: None for that of the model's features.
            known_at: the time of the view; None for now.

        Returns:
            The `predictions`, each with its `bar` and `as_of` or its `row`, and the bars or rows
            that were `omitted`, each with a `code`; None if the call fails.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
            InvalidRequestError: the request cannot be sent; likewise.
        """
        with self._report_failure(f"predict_series {symbol or ''}".rstrip()):
            fields = {
                "symbol": symbol,
                "from": start,
                "to": end,
                "features": features,
                "model_name": model_name,
                "model_version": model_version,
                "timeframe": timeframe,
                "known_at": known_at,
            }
            response = await self._post("/api/ml/predict/series", Body(_encode(fields)))
            return check_series(self.server_url, response)
        return None


def _encode(fields: Mapping[str, object]) -> bytes:
    present = {name: value for name, value in fields.items() if value is not None}
    try:
        return orjson.dumps(present, default=_encode_value, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError("series", "fields that JSON can represent", str(error)) from None


def _encode_value(value: object) -> object:
    """Return a subclass of datetime as text, and an array of another layout as lists."""
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")
