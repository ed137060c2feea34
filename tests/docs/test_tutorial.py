"""The tutorial's files and commands, executed in order on a separate server."""

import os
import re
import signal
import subprocess
from contextlib import contextmanager

import pytest
import yaml

from testkit.cluster import free_ports, haproxy_ports
from testkit.environment import shell_environment
from testkit.paths import BIN, ROOT
from testkit.snippets import SERVER_URL, page, run_shell

PAGE = page("docs/tutorial/index.md")
START = "modelctl serve serve.yaml\n"

pytestmark = pytest.mark.cluster


class Reader:
    """A reader who follows the tutorial in a folder, on a free port instead of 8001."""

    def __init__(self, folder):
        self.folder = folder
        (self.port,) = free_ports(1)
        self.url = f"http://localhost:{self.port}"
        self.environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "MODELCTL_URL": self.url}

    def save_files(self):
        """Save every Python file under the name in its first line, and the configuration."""
        for code in PAGE.blocks("python"):
            name = re.match(r"# (\w+\.py)\n", code)[1]
            (self.folder / name).write_text(code.replace(SERVER_URL, self.url))
        config = yaml.safe_load(PAGE.block("yaml"))
        config["http_options"]["port"] = self.port
        (self.folder / "serve.yaml").write_text(yaml.safe_dump(config))

    def run(self, heading):
        """Run the commands of a section except the one that starts the server.

        Return the output.
        """
        commands = [block for block in PAGE.blocks("bash", heading) if block != START]
        return run_shell("".join(commands), folder=self.folder, environment=self.environment)

    @contextmanager
    def server(self):
        """Start the server as the tutorial says, and stop it with Ctrl-C in the end."""
        assert START in PAGE.blocks("bash", "Serve")
        environment = {**shell_environment(), **haproxy_ports(), "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            [BIN / "modelctl", *START.split()[1:]],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as server:
            try:
                for line in server.stdout:
                    if line.startswith("Stop it"):
                        break
                yield
            finally:
                os.killpg(server.pid, signal.SIGINT)
            assert "Stopped." in server.stdout.read()


def test_setup():
    """The tutorial prepares a folder below the repository with the project's programs."""
    first, second = PAGE.blocks("bash", "Set up")
    assert first == "make setup\nmkdir tutorial\n"
    assert second == "cd tutorial\nexport PATH=$PWD/../.venv/bin:$PATH\n"


def test_tutorial(tmp_path):
    """Train, register, serve, predict, experiment, promote and roll back work as described."""
    reader = Reader(tmp_path)
    reader.save_files()
    accuracy = dict(re.findall(r"(\S+): accuracy (\S+)", reader.run("Train")))
    assert float(accuracy["1.0.0"]) < float(accuracy["1.1.0"])
    listed = reader.run("Register")
    assert re.search(r"1\.0\.0\s+│\s+Production", listed)
    assert re.search(r"1\.1\.0\s+│\s+Staging", listed)
    with reader.server():
        assert re.search(r"1\.0\.0\s+│\s+Production\s+│\s+yes", reader.run("Serve"))
        predictions = reader.run("Predict").splitlines()
        assert [line.split()[0] for line in predictions] == ["1.0.0", "1.1.0"]
        compared = reader.run("Compare the versions")
        assert "more_samples runs: reversion:1.0.0 against reversion:1.1.0" in compared
        assert re.search(r"^completed: (promote|continue)$", compared, re.MULTILINE)
        control, treatment = re.search(r"accuracy\s+│ (\S+)\s+│ (\S+)", compared).groups()
        assert float(control) < float(treatment)
        assert re.search(r"1\.1\.0\s+│\s+Production\s+│\s+yes", reader.run("Promote"))
        history = reader.run("Roll back")
        assert "production is 1.0.0" in history
        assert re.search(r"1\.0\.0\s+│ rolled back", history)
