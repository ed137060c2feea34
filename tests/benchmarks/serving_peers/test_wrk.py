"""What wrk prints becomes a load, or an error that says why it does not count."""

import json

import pytest

from benchmarks.serving_peers.wrk import LoadError, NoAnswerError, Request, parse_result, run_wrk


def printed(**changes):
    """What `post.lua` prints at the end, among wrk's own lines."""
    result = {
        "requests": 500,
        "duration_us": 2_000_000,
        **dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0),
        "percentiles_us": {"50.0": 1500, "99.9": 9000},
        **changes,
    }
    return f"Running 2s test\n  500 requests in 2.00s\nRESULT {json.dumps(result)}\n"


def test_figures():
    """Requests per second and latencies in ms come from the script's line."""
    load = parse_result(printed())

    assert load.requests_per_s == 250.0
    assert load.percentiles_ms == {50.0: 1.5, 99.9: 9.0}
    assert load.as_json()["percentiles_ms"] == {"50": 1.5, "99.9": 9.0}


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
def test_errors(kind):
    """A single error of any kind invalidates the load."""
    with pytest.raises(LoadError, match=f"'{kind}': 1"):
        parse_result(printed(**{kind: 1}))


def test_no_responses():
    """A load without responses is invalid."""
    with pytest.raises(NoAnswerError):
        parse_result(printed(requests=0))


def test_missing_line():
    """Output without the script's line is rejected."""
    with pytest.raises(LoadError, match="one line with wrk's result, received 0"):
        parse_result("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_missing_wrk(monkeypatch):
    """Without wrk the error names how to install it."""
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(LoadError, match="apt install wrk"):
        run_wrk("http://127.0.0.1:1", Request(path="/", content_type="", body=b""), 1, 1)
