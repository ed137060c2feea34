"""The banner and the signals of a launch; tests/integration covers a real launch."""

import shlex
import signal
from pathlib import Path

import pytest

from serve_app.launch.config import ServeConfig, read_config
from serve_app.launch.server import SAMPLE_REQUEST, StopRequests, banner, serve_command

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


def test_modules_of_the_working_directory(tmp_path, monkeypatch):
    """A module in the folder from which a server starts is not imported in place of ours."""
    bot = tmp_path / "bot"
    bot.mkdir()
    (bot / "registry.py").write_text("raise SystemExit('the module of the bot')")
    (bot / "serve_config.yaml").write_text(
        "applications: [{import_path: 'serve_app.app:build', args: {versions: [{model: m}]}}]"
    )
    monkeypatch.chdir(bot)
    launched = tmp_path / "launch"
    launched.mkdir()
    served = read_config(bot / "serve_config.yaml")
    command = serve_command(served, launched)
    assert command[1] == "-P"
    assert command[command.index("--app-dir") + 1] == str(launched)
    written = read_config(Path(command[command.index("run") + 1]))
    assert written.settings[0].registry_root == str(bot / "models")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(number):
    """One signal requests a stop, and a second one a stop without waiting."""
    before = signal.getsignal(number)
    requests = StopRequests()
    with requests.watched():
        assert (requests.any, requests.hurry) == (False, False)
        signal.raise_signal(number)
        assert (requests.any, requests.hurry) == (True, False)
        signal.raise_signal(number)
        assert (requests.any, requests.hurry) == (True, True)
    assert signal.getsignal(number) is before
