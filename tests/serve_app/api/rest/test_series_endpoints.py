"""Series of predictions over HTTP, in JSON and as Arrow streams."""

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from features.times import iso
from serve_app.api.rest.app import build_rest_api
from serve_app.api.rest.schemas import ARROW, SeriesBody, SeriesResponse
from serve_app.api.rest.series_parsing import SERIES_FIELDS
from serve_app.settings import RouterSettings
from testkit.feature_sets import record
from tests.serve_app.api.rest.bodies import check_error
from tests.serve_app.core import NEW, OLD, core

SERIES = "/api/ml/predict/series"
HOUR_MS = 3_600_000
ROWS = [[float(number), 1.0] for number in range(5)]
BARS = {"symbol": "BTC/USDT", "from": 0}


@pytest.fixture
def http(control):
    old = OLD.model_copy(update={"feature_set": record()})
    services = core(versions=(old, NEW)).services
    api = build_rest_api(services, RouterSettings(), print, print, control)
    return TestClient(api, "http://localhost", raise_server_exceptions=False)


def test_bars(http):
    """Each bar of the range has a prediction or the code of an error."""
    response = http.post(SERIES, json=BARS)
    assert response.status_code == 200, response.text
    document = response.json()
    SeriesResponse.model_validate(document)
    assert document["omitted"] == [{"bar": iso(0), "code": "incomplete_window"}]
    first = document["predictions"][0]
    assert (first["bar"], first["as_of"]) == (iso(HOUR_MS), iso(HOUR_MS + 5))
    assert first["prediction"] == {"direction": 1, "confidence": 0.5, "expected_return": 0.0}
    assert len(document["predictions"]) == 4
    origin = (document["symbol"], document["timeframe"], document["model_version"])
    assert origin == ("BTC/USDT", "1h", "1.0.0")


def test_rows(http):
    """The predictions for rows have the position of the last row of their window."""
    document = http.post(SERIES, json={"features": ROWS, "model_version": "staging"}).json()
    SeriesResponse.model_validate(document)
    assert [one["row"] for one in document["predictions"]] == [2, 3, 4]
    assert (document["symbol"], document["model_version"]) == (None, "1.1.0")


def test_arrow(http):
    """An Arrow stream has a row per bar; one without a prediction has a code and no values."""
    response = http.post(SERIES, json=BARS, headers={"Accept": ARROW})
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    assert table["code"].to_pylist() == ["incomplete_window", None, None, None, None]
    assert table["direction"].to_pylist() == [None, 1, 1, 1, 1]
    assert table["expected_return"].to_pylist() == [None, 0, 2, 2, 4]
    assert table["bar"].cast(pa.int64()).to_pylist() == [n * HOUR_MS for n in range(5)]
    assert table["as_of"].cast(pa.int64()).to_pylist()[:2] == [None, HOUR_MS + 5]
    assert table.schema.metadata[b"model_version"] == b"1.0.0"
    rows = http.post(SERIES, json={"features": ROWS}, headers={"Accept": ARROW})
    table = pa.ipc.open_stream(rows.content).read_all()
    assert table["row"].to_pylist() == [2, 3, 4]


def test_empty_range(http):
    """A range without bars has no predictions."""
    ends = {"from": 10 * HOUR_MS, "to": 9 * HOUR_MS}
    for headers in ({}, {"Accept": ARROW}):
        assert http.post(SERIES, json=BARS | ends, headers=headers).status_code == 200


def test_times(http):
    """Times are those of bars, in ISO 8601 or milliseconds."""
    ends = {"from": "1970-01-01T01:00:00Z", "to": 2 * HOUR_MS, "known_at": "2026-01-01T00:00:00Z"}
    document = http.post(SERIES, json=BARS | ends).json()
    assert [one["bar"] for one in document["predictions"]] == [iso(HOUR_MS), iso(2 * HOUR_MS)]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"symbol": "A"}, 422, "invalid_request"),
        ({"from": 0}, 422, "invalid_request"),
        (BARS | {"from": "yesterday"}, 422, "invalid_request"),
        (BARS | {"to": [1]}, 422, "invalid_request"),
        (BARS | {"known_at": "2026-01-01"}, 422, "invalid_request"),
        (BARS | {"unit_id": "a"}, 422, "invalid_request"),
        (BARS | {"symbol": "X"}, 404, "unknown_symbol"),
        (BARS | {"model_version": "staging"}, 422, "no_feature_set"),
        ({"features": ROWS, "from": 0}, 422, "invalid_request"),
        ({"features": None}, 422, "invalid_features"),
        ({"features": [["a"]]}, 422, "invalid_features"),
        ({"features": ROWS[:2]}, 422, "invalid_features"),
    ],
)
def test_invalid(http, body, status, code):
    """An invalid request has the error of a single one."""
    check_error(http.post(SERIES, json=body), status, code)


def test_malformed(http):
    """A body that is not JSON, or has a field twice, is rejected."""
    repeated = b'{"symbol":"A","symbol":"A","from":0}'
    contents = ((b"{", 400), (b"", 400), (repeated, 422), (b"[]", 422))
    for content, status in contents:
        response = http.post(SERIES, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == status, content


def test_schema():
    """The documented fields are those that are read."""
    assert set(SeriesBody.model_json_schema()["properties"]) == set(SERIES_FIELDS)
