"""The banner of a server that has started."""

import shlex
from pathlib import Path

import pytest

from serve_app.launch.banner import SAMPLE_REQUEST, banner, local_url
from serve_app.launch.config import ServeConfig

LOGS = Path("/tmp/tradeserve-7/ray/session_1/logs/serve")


def config(folder, host="0.0.0.0"):
    return ServeConfig(path=folder / "serve_config.yaml", host=host, port=8001)


def test_sample_call(tmp_path):
    """The sample call of the banner can be pasted in any folder."""
    folder = tmp_path / "a folder"
    sample = folder / SAMPLE_REQUEST
    sample.parent.mkdir(parents=True)
    sample.write_text("{}")
    (call,) = [
        line for line in banner(config(folder), LOGS).splitlines() if line.startswith("Try it")
    ]
    words = shlex.split(call.removeprefix("Try it:"))
    assert words[:3] == ["curl", "-s", "http://localhost:8001/api/ml/predict"]
    assert words[-1] == f"@{sample}"


def test_health_call(tmp_path):
    """Without a sample request, the banner calls the health check."""
    assert "curl -s http://localhost:8001/api/ml/health" in banner(config(tmp_path), LOGS)


def test_interface(tmp_path):
    """The banner shows the interface if the server listens on only one."""
    assert "http://192.0.2.1:8001" in banner(config(tmp_path, "192.0.2.1"), LOGS)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("::", "localhost"), ("::1", "[::1]"), ("fd00::5", "[fd00::5]")],
)
def test_ipv6_in_banner(tmp_path, host, shown):
    """An IPv6 address is shown as a URL that can be pasted."""
    assert f"http://{shown}:8001/api/ml/health" in banner(config(tmp_path, host), LOGS)


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::1", "[::1]"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_local_url(tmp_path, host, reached):
    """A server on every interface is reached on loopback, any other one at its address."""
    assert local_url(config(tmp_path, host)) == f"http://{reached}:8001"
