"""The commands that start a server."""

import shlex
from pathlib import Path

from serve_app.launch.environment import MACHINE_ENVIRONMENT, SERVER_ENVIRONMENT
from tests.serve_app.cli.commands import modelctl


def test_env(tmp_path):
    """A shell can evaluate the output, which keeps the variables that are already set."""
    path = tmp_path / "ray_token"
    chosen = {"RAY_AUTH_TOKEN_PATH": str(path), "TMPDIR": "/tmp"}
    done = modelctl("env", RAY_worker_niceness="two words", **chosen)
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    exported = dict(assignment.split("=", 1) for word, assignment in lines if word == "export")
    changed = {"RAY_worker_niceness": "two words", "RAY_AUTH_TOKEN_PATH": str(path)}
    assert Path(exported.pop("RAY_TMPDIR")).stat().st_mode & 0o7777 == 0o700
    assert exported == {**SERVER_ENVIRONMENT, **MACHINE_ENVIRONMENT, **changed}
    assert path.exists()


def test_env_of_several_nodes(tmp_path):
    """A cluster of several machines listens on the node's address."""
    done = modelctl("env", "--multi-node", RAY_AUTH_TOKEN_PATH=str(tmp_path / "ray_token"))
    assert "export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=1\n" in done.stdout


def test_env_without_tokens(tmp_path):
    """An environment that turns Ray's tokens off is rejected with the remedy."""
    done = modelctl("env", RAY_AUTH_MODE="disabled")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "RAY_AUTH_MODE: expected token, received 'disabled'" in done.stderr


def test_unusable_configuration(tmp_path):
    """A configuration that cannot be served ends with exit code 2."""
    done = modelctl("serve", tmp_path / "absent.yaml")
    assert done.exit_code == 2
    assert "no such file" in done.stderr
