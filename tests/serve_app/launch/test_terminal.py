"""The signals of the operator's terminal."""

import signal

import pytest

from serve_app.launch.terminal import StopRequests


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
