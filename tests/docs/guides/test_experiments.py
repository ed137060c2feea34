"""The snippets, lists and numbers of the guide to experiments agree with the code."""

import asyncio
import json
import re
import shlex
import sys

import click
import typer
import yaml
from pydantic_core import to_jsonable_python

from serve_app.api.rest import errors
from serve_app.api.rest.experiment_parsing import parse_definition
from serve_app.cli import app
from serve_app.deployments.actors.outbox import Outbox
from serve_app.experiments.definition import Assignment, ExperimentDefinition
from serve_app.experiments.records import MAX_OUTCOMES
from serve_app.experiments.store import ExperimentStore
from serve_app.settings import AppSettings, ExperimentSettings, RouterSettings
from testkit.fake_server import (
    CREATE,
    EXPERIMENTS,
    OUTCOMES,
    PREDICT,
    FakeServer,
    Reply,
    prediction,
)
from testkit.paths import ROOT
from testkit.snippets import page
from tests.serve_app.experiments.factories import START, definition

PAGE = page("docs/guides/experiments.md")


def test_report_snippet_writes_page(tmp_path, monkeypatch):
    """The snippet of the report writes an HTML page."""
    monkeypatch.chdir(tmp_path)
    with ExperimentStore("sqlite:///experiments.db") as store:
        store.create_experiment(definition(), START)
    code = PAGE.block("python", "Create a report")
    exec(compile(code, "experiments.md", "exec"), {})
    page = (tmp_path / "v1_vs_v2.html").read_text(encoding="utf-8")
    assert "No verdict yet: let the experiment continue" in page


def test_fields_listed():
    """The page lists every field of an experiment in order with its default."""
    listed = {name.strip("`"): default.strip("`") for name, default, _ in PAGE.rows("Every field")}
    real = {
        name: "" if field.is_required() else json.dumps(to_jsonable_python(field.default))
        for name, field in ExperimentDefinition.model_fields.items()
    }
    assert list(listed.items()) == list(real.items())


def test_assignments_described():
    """The page describes every assignment."""
    listed = [re.fullmatch(r"`(\w+)`", row[0]) for row in PAGE.rows("Choose an assignment")]
    assert {match[1] for match in listed} == set(Assignment)


async def test_bot_snippet_runs_experiment():
    """The snippet of the bot creates, predicts, reports, analyses and stops."""
    code = PAGE.block("python", "Run an experiment")
    document = {"status": "completed", "recommendation": {"action": "continue", "reasons": []}}
    async with FakeServer() as server:
        server.script(CREATE, Reply({"status": "success", "experiment_id": "v1_vs_v2"}))
        server.script(PREDICT, Reply({**prediction("EURUSD"), "variant": "control"}))
        taken = {"accepted": 1, "duplicates": 0, "unrecorded": [], "unknown": [], "conflicts": []}
        server.script(OUTCOMES, Reply(taken))
        for call in ("analyze", "stop"):
            server.script(f"{EXPERIMENTS}/v1_vs_v2/{call}", Reply(document))
        code = code.replace("http://localhost:8001", server.url)
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", code), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await run.communicate()
    assert run.returncode == 0
    variant, *_, status = printed.decode().split()
    assert (variant, status) == ("control", "completed")
    (created,) = server.received[CREATE]
    assert created == {**parse_definition(created).model_dump(include=created.keys())}


def test_commands_parse():
    """Modelctl itself parses every command of the page; none is run."""
    lines = [line for line in PAGE.blocks("bash", "Run an experiment")[0].splitlines() if line]
    assert len(lines) == 4
    for line in lines:
        program, group, name, *arguments = shlex.split(line)
        assert (program, group) == ("modelctl", "experiment")
        command = typer.main.get_command(app)
        for word in (group, name):
            command = command.get_command(click.Context(command), word)
            assert command is not None, line
        command.make_context(name, arguments)


def test_http_body():
    """The body of the HTTP example defines an experiment, and its paths are endpoints."""
    create, *others = PAGE.blocks("bash", "Run an experiment")[1].split("\ncurl ")
    body = json.loads(shlex.split(create)[-1])
    created = parse_definition(body)
    assert created.model_dump(include=body.keys()) == body
    assert [re.search(r"8001(\S+)", call)[1] for call in others] == [
        EXPERIMENTS,
        f"{EXPERIMENTS}/v1_vs_v2/analyze",
        f"{EXPERIMENTS}/v1_vs_v2/stop",
    ]


def test_error_codes():
    """Every pair of status and code on the page is one of the server."""
    known = {(status, error.code) for error, status in errors.STATUS.items()}
    named = re.findall(r"(\d{3}) `([a-z_]+)`", PAGE.text)
    assert len(named) >= 8
    assert [pair for pair in named if (int(pair[0]), pair[1]) not in known] == []


def test_settings():
    """The settings parse to the values on the page, and its defaults are those of the code."""
    snippet = PAGE.block("yaml", "Settings")
    shown = yaml.safe_load(snippet)
    settings = AppSettings.model_validate(shown)
    assert settings.model_dump(mode="json", exclude_unset=True) == shown
    router, experiments = RouterSettings(), ExperimentSettings()
    listed = {name.strip("`"): default for name, default, _ in PAGE.rows("Settings") if name}
    assert {f"experiments.{name}" for name in ExperimentSettings.model_fields} < set(listed)
    assert json.loads(listed["experiments.record_all"]) is experiments.record_all
    assert float(listed["experiments.keep_days"]) == experiments.keep_days
    assert float(listed["router.treatment_timeout_s"]) == router.treatment_timeout_s
    text, breaker = PAGE.prose("When treatment fails"), router.breaker
    for words in (
        f"`router.treatment_timeout_s` ({router.treatment_timeout_s:g} s)",
        f"`failures_in_a_row` times ({breaker.failures_in_a_row})",
        f"`window_calls` ({breaker.window_calls})",
        f"`window_s` ({breaker.window_s:g} s)",
        f"`retry_after_s` ({breaker.retry_after_s:g} s)",
        f"`trial_successes` ({breaker.trial_successes})",
    ):
        assert words in text
    assert breaker.failure_share == 0.5  # "half" in the text


def test_limits():
    """The limits of the page are those of the code."""
    assert f"up to {MAX_OUTCOMES:,}" in PAGE.section("Report outcomes")
    assert f"up to {Outbox.LIMIT:,} predictions" in PAGE.section("When a process dies")
