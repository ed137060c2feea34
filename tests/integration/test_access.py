"""Tokens on a real server: every port of a router admits the same callers."""

import asyncio
import json
import time
import urllib.request
from http.client import HTTPException
from urllib.error import HTTPError

import pytest

from serve_app.access.roles import Role
from serve_app.access.token_file import TokenFile
from serve_app.client import ModelClient
from tests.integration.conftest import NAME, serving_args

WINDOW = json.dumps({"symbol": "BTCUSDT", "features": [0.0] * 6600}).encode()
RELOAD = json.dumps({"model_name": NAME}).encode()
PREDICT = "/api/ml/predict"
ALL = {f"{NAME}:{version}" for version in ("1.0.0", "1.1.0", "1.2.0")}
TOKEN_FILE = "tokens.json"  # in the folder in which Ray was started


def call(url, path, body=None, token=None):
    """Return the status and the header fields of a response."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers
    except HTTPError as error:
        return error.code, error.headers


def status(*arguments, **keywords):
    return call(*arguments, **keywords)[0]


def replace_routers(cluster, args):
    """Deploy other settings, and return once the routers before are gone."""
    before = cluster.replicas("Router")
    cluster.deploy(args)
    deadline_s = time.monotonic() + 90
    while any(router.is_running() for router in before) or not cluster.replicas("Router"):
        assert time.monotonic() < deadline_s, "the routers were not replaced"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def file(cluster):
    return TokenFile(cluster.folder / TOKEN_FILE)


@pytest.fixture(scope="module", autouse=True)
def secrets(cluster, file):
    """Tokens with one role each; the server requires them while this module runs."""
    secrets = {role: file.create(f"a-{role}", {role})[1] for role in Role}
    access = {"token_file": TOKEN_FILE, "requests_per_s": 50}
    replace_routers(cluster, serving_args(access=access))
    yield secrets
    replace_routers(cluster, serving_args())
    cluster.wait_until_serving(ALL)


def urls(cluster):
    """Return the front port, and every port of a router on which HTTP is served."""
    ports = {
        connection.laddr.port
        for router in cluster.replicas("Router")
        for connection in router.net_connections("tcp")
        if connection.status == "LISTEN"
    }
    found = [cluster.url]
    for port in ports:
        url = f"http://127.0.0.1:{port}"
        try:
            if status(url, "/api/ml/health") == 200:
                found.append(url)
        except (OSError, HTTPException):
            continue  # gRPC
    return found


def test_every_port_requires_a_token(cluster, secrets):
    """The front port and the routers' own apply the same roles, on both paths."""
    found = urls(cluster)
    assert len(found) >= 2
    for url in found:
        assert status(url, PREDICT, WINDOW) == 401
        assert status(url, PREDICT, WINDOW, secrets[Role.OPERATE]) == 403
        assert status(url, PREDICT, WINDOW, secrets[Role.PREDICT]) == 200
        assert status(url, "/api/ml/models") == 401
        assert status(url, "/api/ml/models", token=secrets[Role.OBSERVE]) == 200
        assert status(url, "/api/ml/models/reload", RELOAD, secrets[Role.PREDICT]) == 403
        assert status(url, "/api/ml/health") == 200
    assert status(cluster.url, "/api/ml/models/reload", RELOAD, secrets[Role.OPERATE]) == 200


def test_rate_limit(cluster, secrets):
    """A token that exceeds its rate receives 429, and the others do not."""
    responses = [
        call(cluster.url, "/api/ml/models", token=secrets[Role.OBSERVE]) for _ in range(500)
    ]
    limited = [headers for code, headers in responses if code == 429]
    assert limited
    assert limited[0]["Retry-After"] == "1"
    assert limited[0]["RateLimit"].startswith('"requests";r=0;t=1')
    assert status(cluster.url, PREDICT, WINDOW, secrets[Role.PREDICT]) == 200


def test_changes_are_followed(cluster, file):
    """A created token is accepted, and a revoked one rejected, without a restart."""
    _, secret = file.create("short-lived", {Role.PREDICT})
    for expected in (200, 401):
        deadline_s = time.monotonic() + 5  # one second, and the delays of a busy machine
        while status(cluster.url, PREDICT, WINDOW, secret) != expected:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        if expected == 200:
            file.revoke("short-lived")


async def test_client_on_the_machine_needs_no_step(cluster):
    """A client of the server's user finds the local token by itself."""
    async with ModelClient(cluster.url, raise_errors=True, timeout_s=20) as client:
        assert {
            f"{entry['name']}:{entry['version']}" for entry in await client.list_models()
        } == ALL


async def test_history_names_the_callers(cluster, secrets):
    """The history of an experiment names the tokens that created and stopped it."""
    parameters = {"raise_errors": True, "timeout_s": 20}
    async with (
        ModelClient(cluster.url, token=secrets[Role.OPERATE], **parameters) as operator,
        ModelClient(cluster.url, **parameters) as local,
    ):
        await operator.create_ab_test("by_tokens", NAME, "1.0.0", NAME, "1.1.0")
        await local.stop_ab_test("by_tokens")
        evidence = await operator.get_ab_test_evidence("by_tokens")
    authors = {entry["action"]: entry["details"].get("by") for entry in evidence["history"]}
    assert authors["created"] == "a-operate"
    assert "@" in authors["stopped"]  # the user of the server and its machine


async def test_secrets_appear_nowhere(cluster, secrets):
    """No process's arguments and no log of the server contain a secret."""
    texts = [" ".join(process.cmdline()) for process in cluster.processes()]
    texts += await asyncio.to_thread(
        lambda: [
            path.read_text(errors="replace")
            for path in (cluster.folder / "ray").rglob("*")
            if path.suffix in (".log", ".out", ".err")
        ]
    )
    assert not any(secret in text for secret in secrets.values() for text in texts)
