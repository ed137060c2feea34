"""The commands that start a server."""

import shlex

from serve_app.launch.environment import SERVER_ENVIRONMENT
from tests.serve_app.cli.commands import modelctl


def test_env():
    """A shell can evaluate the output, which keeps the variables that are already set."""
    done = modelctl("env", RAY_AUTH_MODE="two words")
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    exported = dict(assignment.split("=", 1) for word, assignment in lines if word == "export")
    assert exported == {**SERVER_ENVIRONMENT, "RAY_AUTH_MODE": "two words"}


def test_unusable_configuration(tmp_path):
    """A configuration that cannot be served ends with exit code 2."""
    done = modelctl("serve", tmp_path / "absent.yaml")
    assert done.exit_code == 2
    assert "no such file" in done.stderr
