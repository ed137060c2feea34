"""`modelctl` as an operator calls it, with its exit codes."""

import asyncio
import json
import shlex

import pytest
import torch
from typer.testing import CliRunner

from registry import ModelRegistry
from registry.architectures import HybridCNNLSTM, save_checkpoint
from serve_app.cli import app
from serve_app.launch.environment import SERVER_ENVIRONMENT


def modelctl(*arguments, environment=None):
    return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A registry with 1.0.0 in production and a newer 1.10.0."""
    folder = tmp_path_factory.mktemp("registry")
    torch.manual_seed(0)
    checkpoint = folder / "model.pt"
    save_checkpoint(HybridCNNLSTM(input_size=4, lstm_hidden_size=8), checkpoint)
    registry = ModelRegistry(folder / "models")

    async def fill():
        for version in ("1.0.0", "1.10.0"):
            await registry.register_model(
                "m",
                version,
                checkpoint,
                "HybridCNNLSTM",
                metrics={"sharpe_ratio": 2.5},
                input_shape=(60, 4),
            )
        await registry.promote_to_production("m", "1.0.0")

    asyncio.run(fill())
    return folder / "models"


def test_env_can_be_evaluated_by_a_shell_and_keeps_what_is_set():
    done = modelctl("env", environment={"RAY_AUTH_MODE": "two words"})
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    exported = dict(assignment.split("=", 1) for word, assignment in lines if word == "export")
    assert exported == {**SERVER_ENVIRONMENT, "RAY_AUTH_MODE": "two words"}


def test_list_shows_every_version_as_a_table_and_as_json(root):
    table = modelctl("list", "--registry", root, environment={"COLUMNS": "160"})
    assert table.exit_code == 0
    assert table.stdout.index("1.0.0") < table.stdout.index("1.10.0")
    assert "Production" in table.stdout
    assert "sharpe_ratio=2.5" in table.stdout
    listed = json.loads(modelctl("list", "--registry", root, "--json").stdout)
    assert [each["version"] for each in listed] == ["1.0.0", "1.10.0"]
    assert listed[0]["path"] == str(root / "m" / "v1.0.0")


def test_an_empty_registry_is_no_error(tmp_path):
    done = modelctl("list", "--registry", tmp_path / "absent")
    assert done.exit_code == 0
    assert "no models in" in done.stdout
    assert json.loads(modelctl("list", "--registry", tmp_path / "absent", "--json").stdout) == []


@pytest.mark.parametrize(
    ("reference", "version"),
    [(["1.10.0"], "1.10.0"), (["production"], "1.0.0"), ([], "1.0.0")],
)
def test_show_takes_a_version_a_stage_or_neither(root, reference, version):
    done = modelctl("show", "m", *reference, "--registry", root, "--json")
    assert json.loads(done.stdout)["version"] == version


def test_show_prints_what_is_known_as_a_table(root):
    done = modelctl("show", "m", "--registry", root, environment={"COLUMNS": "160"})
    assert done.exit_code == 0
    assert "HybridCNNLSTM" in done.stdout
    assert '"model.pt"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("n",), "error: no model 'n' in the registry; registered models: m"),
        (("m", "9.9.9"), "error: model 'm' has no version '9.9.9'; its versions: 1.0.0, 1.10.0"),
        (("m", "staging"), "error: model 'm' has no"),
        (("m", "newest"), "error: invalid version 'newest'"),
    ],
)
def test_what_the_registry_refuses_is_one_line_on_stderr_and_exit_code_1(root, arguments, message):
    done = modelctl("show", *arguments, "--registry", root)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message)


def test_a_configuration_that_cannot_be_served_is_exit_code_2(tmp_path):
    done = modelctl("serve", tmp_path / "absent.yaml")
    assert done.exit_code == 2
    assert "no such file" in done.stderr


@pytest.mark.parametrize("arguments", [("serve",), ("show",), ("list", "--unknown")])
def test_wrong_usage_is_exit_code_2(arguments):
    assert modelctl(*arguments).exit_code == 2
