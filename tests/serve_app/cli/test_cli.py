"""The command line as a whole: usage errors, completion, help."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from serve_app.cli import app
from tests.serve_app.cli.commands import modelctl


@pytest.mark.parametrize("arguments", [("serve",), ("show",), ("reload",), ("list", "--unknown")])
def test_wrong_usage(arguments):
    """A missing argument and an unknown option end with exit code 2."""
    assert modelctl(*arguments).exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell):
    """Each shell can load a script for completion."""
    done = CliRunner().invoke(
        app, [], env={"_MODELCTL_COMPLETE": f"source_{shell}"}, prog_name="modelctl"
    )
    assert done.exit_code == 0
    assert f"_MODELCTL_COMPLETE=complete_{shell}" in done.stdout


def test_completion_of_commands():
    """Completion knows the commands."""
    environment = {
        "_MODELCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "modelctl ro",
        "COMP_CWORD": "1",
    }
    done = CliRunner().invoke(app, [], env=environment, prog_name="modelctl")
    assert done.stdout.split() == ["rollback"]


def commands_of(command, words=()):
    """Yield every command with the words that call it."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, child in inner.items():
        yield from commands_of(child, (*words, name))


@pytest.mark.parametrize(
    ("words", "command"),
    [pytest.param(*found, id=" ".join(found[0])) for found in commands_of(get_command(app))],
)
def test_help(words, command):
    """Each command, argument and option has a help text that ends with its sentence."""
    assert command.help
    for parameter in command.params:
        assert parameter.help.endswith("."), f"{words}: {parameter.name}"


def test_options_are_declared_once():
    """An option that several commands have means the same in each of them."""
    helps = {}
    for words, command in commands_of(get_command(app)):
        for parameter in command.params:
            if parameter.param_type_name == "option":
                helps.setdefault(parameter.opts[0], {}).setdefault(parameter.help, words)
    several = {option for option, texts in helps.items() if len(texts) > 1}
    assert several == {
        "--output",  # a model's output, and a report's file
        "--dead-band",  # a regressor's, and that of a dataset's labels
        "--feature-set",  # that of a version, and that of a dataset
        "--from",  # of a dataset's samples, and of exported bars
        "--to",  # the same, and a stage
        "--symbol",  # of the bars for a check, and of imported and exported bars
    }
