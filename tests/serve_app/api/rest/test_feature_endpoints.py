"""The server's windows over HTTP."""

import httpx2
import pytest

from features.times import iso
from serve_app.api.rest.app import build_rest_api
from serve_app.api.rest.feature_endpoints import parse_window
from serve_app.api.rest.schemas import WindowResponse
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import LiveResult, Position, Publication
from serve_app.errors import InvalidRequestError
from serve_app.settings import RouterSettings
from serve_app.versions import VersionRef
from testkit.feature_sets import record
from tests.serve_app.api.rest.bodies import check_error
from tests.serve_app.core import NEW, OLD, core

BAR_MS = 1_767_571_200_000
VERSION = VersionRef("toy", "1.0.0")


@pytest.fixture
async def http(control):
    old = OLD.model_copy(update={"feature_set": record()})
    under_test = core(versions=(old, NEW))
    outcome = Prediction(1, 0.5, None)
    result = LiveResult(VERSION, "BTC/USDT", "1h", BAR_MS, BAR_MS + 5, BAR_MS, outcome)
    under_test.live.apply(Publication(Position("p", 1), {VERSION: "1h"}, (result,), (), True))
    api = build_rest_api(under_test.services, RouterSettings(), print, print, control)
    transport = httpx2.ASGITransport(api)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


async def test_window(http):
    """The window has a name per column and a time per row, whatever the age of its last bar."""
    response = await http.get("/api/ml/features/BTC/USDT")
    assert response.status_code == 200, response.text
    window = WindowResponse.model_validate(response.json())
    assert (window.symbol, window.features) == ("BTC/USDT", ["change", "volume"])
    assert window.rows == [[0.5, 1], [2, 3], [4, 5]]
    assert response.json()["bars"][-1] == iso(BAR_MS)
    named = await http.get("/api/ml/features/BTC/USDT", params={"bar": iso(BAR_MS)})
    assert named.json() == response.json()


async def test_unknown_symbol(http):
    """A symbol without bars is unknown."""
    check_error(await http.get("/api/ml/features/X"), 404, "unknown_symbol")


@pytest.mark.parametrize(
    "query", ["x=1", "bar=1&bar=2", "bar=yesterday", "symbol=A", "max_age_s=1"]
)
def test_invalid(query):
    """A query with another field, or without meaning, is rejected."""
    with pytest.raises(InvalidRequestError):
        parse_window("A", query)
