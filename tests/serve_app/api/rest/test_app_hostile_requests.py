"""Hostile requests over ASGI: no 5xx without a reason, no internals in responses, a quiet log."""

import json
import logging
import re
from itertools import islice

import pytest

from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits
from serve_app.access.tokens import TokenTable
from serve_app.api.rest import schemas
from serve_app.api.rest.app import build_rest_api
from serve_app.settings import RouterSettings
from testkit.hostile_requests import World, hostile_requests
from testkit.paths import ROOT
from tests.serve_app.core import DEFINITION, WINDOW, core

SETTINGS = RouterSettings(max_body_bytes=100_000)
SERVER_BREAKS = 500
UNAVAILABLE = 503
INTERNALS = re.compile(
    rb"Traceback|site-packages|File \"|0x[0-9a-f]{6,}|\.py\b|" + re.escape(str(ROOT)).encode()
)

WORLD = World(
    window=WINDOW,
    shape=(3, 2),
    model="toy",
    version="1.0.0",
    definition=DEFINITION,
    prediction_ids=("p1", "p2"),
    experiment_id="v1_vs_v2",
)


async def send(api, request):
    """Return the status, the content type and the body of the response to a request."""
    messages = [{"type": "http.request", "body": request.body, "more_body": False}]
    sent = []

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def keep(message):
        sent.append(message)

    await api(request.scope(), receive, keep)
    headers = dict(sent[0]["headers"])
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], headers.get(b"content-type", b""), content


def problem_of(request, status, content_type, content):
    """Return what is wrong with a response; None if nothing is."""
    if INTERNALS.search(content):
        return "internals"
    if status < 400:
        return None
    if status >= SERVER_BREAKS and status != UNAVAILABLE:
        return "server error"
    if request.method == "HEAD" or not request.path.startswith("/api/"):
        return None
    if content_type != b"application/json":
        return "content type"
    error = schemas.ErrorResponse.model_validate_json(content).error
    return None if error.code and error.message else "no reason"


async def check(seed, count, caplog):
    """Send the cases of a seed; fail with the first that is served wrongly."""
    caplog.set_level(logging.WARNING)
    statuses = {}
    api = None
    for index, request in enumerate(islice(hostile_requests(WORLD, seed), count)):
        if index % 1000 == 0:  # a fresh core, since outcomes and records accumulate
            control = AccessControl(TokenTable(), Limits(None, None))
            services = core().services
            api = build_rest_api(services, SETTINGS, dict, lambda path, status: None, control)
        caplog.clear()
        status, content_type, content = await send(api, request)
        problem = problem_of(request, status, content_type, content)
        if any(record.exc_info for record in caplog.records):
            problem = f"traceback in the log: {caplog.text[-2000:]}"
        assert problem is None, f"{problem}, case {index} of {seed}: {status} {content} {request}"
        statuses[status] = statuses.get(status, 0) + 1
    return statuses


@pytest.mark.parametrize("seed", [1, 2])
async def test_hostile_requests_are_rejected(seed, caplog):
    """1,000 hostile requests per seed are served or rejected, and reach every kind of response."""
    statuses = await check(seed, 1000, caplog)
    assert set(statuses) >= {200, 400, 404, 405, 409, 415, 422}


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 112))
async def test_hostile_requests_are_rejected_at_length(seed, caplog):
    """120,000 hostile requests are served or rejected."""
    statuses = await check(seed, 10_000, caplog)
    print(json.dumps(statuses))
