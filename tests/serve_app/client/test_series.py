"""ModelClient's calls for series against a scripted server."""

from datetime import UTC, datetime

import numpy as np
import pytest

from serve_app.errors import InvalidRequestError, UnexpectedResponseError
from testkit.fake_server import Reply

SERIES = "/api/ml/predict/series"
RESPONSE = {
    "symbol": "EURUSD",
    "predictions": [{"bar": "2026-01-05T09:00:00Z", "prediction": {"direction": 1}}],
    "omitted": [{"bar": "2026-01-05T08:00:00Z", "code": "incomplete_window"}],
}


async def test_range(server, client):
    """A range is sent with its times in any form; the response is returned."""
    server.script(SERIES, Reply(RESPONSE))
    start = datetime(2026, 1, 5, 8, tzinfo=UTC)
    found = await client.predict_series("EURUSD", start=start, end=1767610800000)
    assert found == RESPONSE
    (received,) = server.received[SERIES]
    expected = {"symbol": "EURUSD", "from": "2026-01-05T08:00:00+00:00", "to": 1767610800000}
    assert received == expected


@pytest.mark.parametrize("order", ["C", "F"])
async def test_rows(server, client, order):
    """Rows are sent from an array of any layout."""
    server.script(SERIES, Reply(RESPONSE))
    rows = np.asarray([[1, 2], [3, 4.5]], np.float32, order=order)
    await client.predict_series(features=rows, model_version="1.0.0")
    (received,) = server.received[SERIES]
    assert received == {"features": [[1, 2], [3, 4.5]], "model_version": "1.0.0"}


async def test_failures(server, client):
    """What cannot be sent, or is not a series, is an error."""
    with pytest.raises(InvalidRequestError):
        await client.predict_series("EURUSD", start=object())
    for response in ([], {}, {"omitted": []}, {**RESPONSE, "predictions": [{}]}):
        server.script(SERIES, Reply(response))
        with pytest.raises(UnexpectedResponseError):
            await client.predict_series("EURUSD", start=0)


async def test_failed_call(server, quiet_client):
    """A call that fails returns None."""
    server.script(SERIES, Reply({}))
    assert await quiet_client.predict_series("EURUSD", start=0) is None
