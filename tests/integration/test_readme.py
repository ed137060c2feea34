"""The README's commands and snippets, run as they stand but for ports and folders."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import uuid

import yaml

from serve_app.api.rest import schemas
from testkit.cluster import BIN, free_ports, haproxy_ports, readme_blocks
from testkit.paths import ROOT
from tests.integration.conftest import NAME


def run(command, environment=None, timeout_s=60):
    done = subprocess.run(
        command,
        env=environment or {**os.environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_call_answers_what_the_readme_shows(cluster):
    (command,) = readme_blocks("Ask for a prediction", "bash")
    (shown,) = readme_blocks("Ask for a prediction", "json")
    answer = run(["bash", "-ec", command.replace("http://localhost:8001", cluster.url)])
    schemas.PredictAnswer.model_validate_json(answer)
    assert list(json.loads(answer)) == list(json.loads(shown))


def test_the_bot_prints_a_direction_a_bar(cluster):
    (code,) = readme_blocks("A bot in ten lines", "python")
    printed = run([sys.executable, "-c", code.replace("http://localhost:8001", cluster.url)])
    lines = [line.split() for line in printed.splitlines()]
    assert len(lines) == 10
    assert all(int(direction) in (0, 1, 2) and 0 < float(sure) < 1 for direction, sure in lines)


def test_the_bot_of_the_example_reports_on_every_bar(cluster):
    command = [sys.executable, "-m", "examples.eurusd.bot", "--bars", "50", "--url", cluster.url]
    printed = run(command)
    assert re.search(r"predictions\s+│\s+50\b", printed), printed
    assert re.search(r"failed predictions\s+│\s+0\b", printed), printed
    assert f"{NAME}:1.0.0 (50)" in printed


def test_the_research_snippet_prints_two_predictions(cluster):
    (code,) = readme_blocks("From Python, inside the cluster", "python")
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    answer, prediction = run([sys.executable, "-c", code], environment).splitlines()[-2:]
    assert "'model_version': '1.1.0'" in answer
    assert prediction.startswith("Prediction(direction=")


def test_a_promotion_is_followed_by_the_reload_of_the_readme(cluster, folder):
    (script,) = readme_blocks("Versions come and go", "bash")
    environment = {
        **os.environ,
        "COLUMNS": "120",
        "MODELCTL_REGISTRY": str(folder / "models"),
        "MODELCTL_URL": cluster.url,
    }

    def operator(commands):
        return run(["bash", "-ec", commands.replace(".venv/bin/", f"{BIN}/")], environment)

    try:
        printed = operator(script)
    finally:
        operator(
            f".venv/bin/modelctl rollback {NAME}\n"
            f".venv/bin/modelctl stage {NAME} 1.1.0 --to staging\n"
            f".venv/bin/modelctl reload {NAME}"
        )
    assert f"{NAME}:1.1.0 answers; production is 1.1.0" in printed
    assert re.search(r"1\.1\.0\s+│\s+Production\s+│\s+yes\b", printed), printed


def test_an_experiment_of_the_readme_is_created_shown_and_stopped(cluster):
    (script,) = readme_blocks("Compare two versions on live requests", "bash")
    environment = {**os.environ, "COLUMNS": "120", "MODELCTL_URL": cluster.url}
    # An id is never used again, and this one may have been by an earlier run on this cluster.
    script = script.replace("v1_vs_v2", f"readme-{uuid.uuid4().hex[:8]}")
    printed = run(["bash", "-ec", script.replace(".venv/bin/", f"{BIN}/")], environment)
    assert f"runs: {NAME}:1.0.0 against {NAME}:1.1.0" in printed
    assert [line for line in printed.splitlines() if line.endswith(": continue")] == [
        "running: continue",
        "completed: continue",
    ]


def test_the_experiment_of_the_example_comes_to_its_verdict(cluster):
    """With models that were not trained, so that its figures mean nothing."""
    command = [sys.executable, "-m", "examples.eurusd.experiment", "--bars", "100"]
    printed = run([*command, "--mode", "mirror", "--url", cluster.url])
    # A treatment that is too slow on a busy machine has no answer to be labelled.
    assert re.search(r"with an outcome\s+│\s+100\s+│\s+\d+\b", printed), printed
    assert "Verdict: " in printed


def test_make_serve_serves_until_ctrl_c_and_its_curl_works_when_pasted(folder, registry):
    """With a registry that is filled already and a free port in the place of 8001."""
    commands = readme_blocks("Start", "bash")
    assert [each.strip() for each in commands] == ["make serve", "make test"]
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    (port,) = free_ports(1)
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    # The other tests' cluster serves the folder too, and two of one name would be refused.
    config["applications"][0]["name"] = "another"
    config["applications"][0]["args"]["registry_root"] = str(folder / "models")
    path = ROOT / f".test-{port}.yaml"
    path.write_text(yaml.safe_dump(config))
    with subprocess.Popen(
        ["make", "serve", f"CONFIG={path.name}", f"REGISTRY={folder / 'models'}"],
        env={**os.environ, **haproxy_ports()},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as server:
        try:
            printed = list(
                itertools.takewhile(lambda line: not line.startswith("Stop it"), server.stdout)
            )
            curl = next(line for line in printed if line.startswith("Try it:"))
            command = ["bash", "-ec", curl.removeprefix("Try it:")]
            answer = subprocess.run(command, capture_output=True, cwd="/", check=True)
            schemas.PredictAnswer.model_validate_json(answer.stdout)
        finally:
            path.unlink()
            os.killpg(server.pid, signal.SIGINT)  # as a terminal does
        assert server.stdout.read().rstrip().endswith("Stopped.")


def test_ci_runs_the_checks_and_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make .*?(\w+)$", script, flags=re.MULTILINE) == ["check", "test"]


def test_every_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    local = [link for link in links if not link.startswith("https://")]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []
