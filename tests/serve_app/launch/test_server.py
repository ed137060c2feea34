"""What the operator sees, and how the launcher takes Ctrl-C; a real launch: tests/integration."""

import shlex
import signal

import pytest

from serve_app.launch.config import ServeConfig
from serve_app.launch.server import SAMPLE_REQUEST, StopRequests, banner


def config(folder, host="0.0.0.0"):
    return ServeConfig(path=folder / "serve_config.yaml", host=host, port=8001)


def test_the_banners_call_can_be_pasted_in_any_folder(tmp_path):
    folder = tmp_path / "a folder"
    sample = folder / SAMPLE_REQUEST
    sample.parent.mkdir(parents=True)
    sample.write_text("{}")
    (call,) = [line for line in banner(config(folder)).splitlines() if line.startswith("Try it")]
    words = shlex.split(call.removeprefix("Try it:"))
    assert words[:3] == ["curl", "-s", "http://localhost:8001/api/ml/predict"]
    assert words[-1] == f"@{sample}"


def test_without_a_sample_the_banner_calls_the_health_check(tmp_path):
    assert "curl -s http://localhost:8001/api/ml/health" in banner(config(tmp_path))


def test_the_banner_names_the_one_interface_that_it_listens_on(tmp_path):
    assert "http://192.0.2.1:8001" in banner(config(tmp_path, "192.0.2.1"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_asks_to_stop_and_a_second_to_hurry(number):
    before = signal.getsignal(number)
    requests = StopRequests()
    with requests.watched():
        assert (requests.any, requests.hurry) == (False, False)
        signal.raise_signal(number)
        assert (requests.any, requests.hurry) == (True, False)
        signal.raise_signal(number)
        assert (requests.any, requests.hurry) == (True, True)
    assert signal.getsignal(number) is before
