"""Bodies of requests, and checks of those of responses."""

from serve_app.api.rest import schemas
from serve_app.settings import RouterSettings
from tests.serve_app.core import WINDOW

LIMIT_BYTES = 2000
"""The largest body that the tested front end reads."""

JSON = {"Content-Type": "application/json"}

SETTINGS = RouterSettings(max_body_bytes=LIMIT_BYTES)
"""The settings of the tested front end."""


def body(features=WINDOW, **fields):
    """Return the JSON of a request for one prediction."""
    return {"symbol": "BTCUSDT", "features": features, **fields}


def check_error(response, status, code):
    """Check the status, the code and the schema of an error; return it."""
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["content-type"] == "application/json"
    schemas.ErrorResponse.model_validate(response.json())
    return response.json()["error"]
