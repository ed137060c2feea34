"""The commands on experiments, against a scripted server."""

import asyncio

import orjson
import pytest

from serve_app.timeouts import CLIENT_QUERY_S
from testkit.fake_server import CREATE, EXPERIMENTS, MODELS, Reply, error
from tests.serve_app.cli.commands import modelctl_beside as modelctl
from tests.serve_app.cli.commands import printed
from tests.serve_app.experiments.report_evidence import evidence

VARIANT = {
    **dict.fromkeys(
        ("accuracy", "f1_score", "win_rate", "avg_return", "total_pnl", "error_rate"), 0.25
    ),
    "samples": 100,
    "labelled": 90,
    "sharpe_ratio": None,
    "avg_latency_ms": 1.5,
    "p95_latency_ms": 2.5,
}
ANALYSIS = {
    "experiment_id": "a_b",
    "status": "running",
    "control": {**VARIANT, "model": "net:1.0.0"},
    "treatment": {**VARIANT, "model": "net:1.1.0"},
    "recommendation": {"action": "continue", "reasons": ["Not enough labelled predictions."]},
}
ENTRY = {
    "experiment_id": "a_b",
    "status": "completed",
    "control": "net:1.0.0",
    "treatment": "net:1.1.0",
    "control_traffic": 0.9,
    "treatment_traffic": 0.1,
    "started_at": "2026-01-02T00:00:00Z",
    "ended_at": None,
    "end_reason": "promoted",
}


async def test_create(server):
    """`create` sends the shares of both variants and the additional fields as JSON."""
    server.script(MODELS, Reply([]))
    server.script(CREATE, Reply({"status": "success", "experiment_id": "a_b"}))
    done = await modelctl(
        *("experiment", "create", "a_b", "net", "1.0.0", "1.1.0", "--traffic", "0.25"),
        *("--set", "duration_hours=48", "--set", 'mode="mirror"', "--url", server.url),
    )
    assert (done.exit_code, done.stdout) == (0, "a_b runs: net:1.0.0 against net:1.1.0\n")
    (sent,) = server.received[CREATE]
    assert (sent["control_traffic"], sent["treatment_traffic"]) == (0.75, 0.25)
    assert (sent["duration_hours"], sent["mode"]) == (48, "mirror")
    assert sent["control_model_name"] == sent["treatment_model_name"] == "net"


async def test_create_error(server):
    """A rejection ends with exit code 1, a mistyped field with 2."""
    rejection = error("experiment_conflict", "experiment 'x' is running on model 'net'")
    server.script(MODELS, Reply([]))
    server.script(CREATE, Reply(rejection, status=409))
    done = await modelctl(
        "experiment", "create", "a_b", "net", "1.0.0", "1.1.0", "--url", server.url
    )
    assert (done.exit_code, done.stdout) == (1, "")
    assert "experiment 'x' is running on model 'net'" in done.stderr
    wrong = await modelctl("experiment", "create", "a", "net", "1", "2", "--set", "duration_hours")
    assert (wrong.exit_code, "expected NAME=JSON" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("command", [("create", "a_b", "net", "1.0.0", "1.1.0"), ("stop", "a_b")])
async def test_unreachable_server(free_port, command):
    """An unreachable server is reported without the long wait for the server's own steps."""
    url = f"http://127.0.0.1:{free_port}"
    async with asyncio.timeout(CLIENT_QUERY_S / 4):
        done = await modelctl("experiment", *command, "--url", url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: cannot reach the model server at {url}")


async def test_list(server):
    """`list` shows every experiment and the reason for its end."""
    server.script(EXPERIMENTS, Reply([ENTRY]))
    shown = await modelctl("experiment", "list", "--url", server.url)
    for word in ("a_b", "completed", "net:1.0.0", "net:1.1.0", "10%", "promoted"):
        assert word in shown.stdout
    assert printed(await modelctl("experiment", "list", "--url", server.url, "--json")) == [ENTRY]
    server.script(EXPERIMENTS, Reply([]))
    assert "no experiments" in (await modelctl("experiment", "list", "--url", server.url)).stdout


@pytest.mark.parametrize(("command", "path"), [("show", "analyze"), ("stop", "stop")])
async def test_show_and_stop(server, command, path):
    """`show` and `stop` print both variants, the recommendation and its reasons."""
    server.script(MODELS, Reply([]))
    server.script(f"{EXPERIMENTS}/a_b/{path}", Reply(ANALYSIS))
    shown = await modelctl("experiment", command, "a_b", "--url", server.url)
    assert shown.exit_code == 0, shown.stderr
    for word in ("control net:1.0.0", "treatment net:1.1.0", "accuracy", "0.25", "Sharpe", "-"):
        assert word in shown.stdout
    assert shown.stdout.endswith("running: continue\n  Not enough labelled predictions.\n")
    done = await modelctl("experiment", command, "a_b", "--url", server.url, "--json")
    assert printed(done) == ANALYSIS


async def test_report(server, tmp_path):
    """`report` writes an HTML page on both versions."""
    document = orjson.loads(orjson.dumps(evidence(ended=True).to_document()))
    document["experiment"]["final_report"] = None
    document["experiment"] |= {"status": "running", "ended_at": None, "end_reason": None}
    server.script(f"{EXPERIMENTS}/a_b/evidence", Reply(document))
    page = tmp_path / "page.html"
    done = await modelctl("experiment", "report", "a_b", "--output", str(page), "--url", server.url)
    assert (done.exit_code, done.stdout) == (0, f"{page} is written\n"), done.stderr
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "m:1.1.0" in page.read_text()


async def test_report_error(server, tmp_path):
    """A path that cannot be written and evidence of another release end with exit code 1."""
    document = orjson.loads(orjson.dumps(evidence(ended=False).to_document()))
    server.script(f"{EXPERIMENTS}/a_b/evidence", Reply(document))
    nowhere = tmp_path / "absent" / "page.html"
    done = await modelctl("experiment", "report", "a_b", "-o", str(nowhere), "--url", server.url)
    assert (done.exit_code, "No such file" in done.stderr) == (1, True)
    server.script(f"{EXPERIMENTS}/a_b/evidence", Reply({"blocks": []}))
    done = await modelctl("experiment", "report", "a_b", "--url", server.url)
    assert (done.exit_code, "does not match this release" in done.stderr) == (1, True)


async def test_show_units(server):
    """If bots are assigned as units, `show` prints the bots of each variant."""
    variants = {
        "control": {"seen": 41, "labelled": 39, "effective": 12.5},
        "treatment": {"seen": 7, "labelled": 5, "effective": 3.25},
    }
    by_bot = {**ANALYSIS, "units": {"served": "bots", "needed": 5.0, **variants}}
    server.script(f"{EXPERIMENTS}/a_b/analyze", Reply(by_bot))
    done = await modelctl("experiment", "show", "a_b", "--url", server.url)
    rows = [line.replace("│", " ").split() for line in done.stdout.splitlines()]
    assert ["bots", "41", "7"] in rows
    assert ["bots", "with", "an", "outcome", "39", "5"] in rows
    assert ["effective", "number", "of", "bots", "12.5", "3.25"] in rows
