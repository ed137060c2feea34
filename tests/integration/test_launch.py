"""`modelctl serve` from the command line to its last process, with a minimal application."""

import os
import shutil
import signal
import tempfile
import urllib.request
from pathlib import Path

import pytest

from testkit.cluster import free_ports
from testkit.launch import Launch


@pytest.fixture(scope="module")
def ports():
    """Ports that the launches of this module share, so that each detects leftovers of another."""
    return free_ports(4)


@pytest.fixture(scope="module")
def temporary():
    """A folder with a short name, since the paths of Ray's sockets are limited."""
    path = Path(tempfile.mkdtemp(prefix="ts", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def tiny(builder):
    return {"name": "tiny", "route_prefix": "/", "import_path": f"testkit.tiny_app:{builder}"}


def test_failed_application(tmp_path, temporary, ports):
    """An application that cannot be built is reported, and leaves no process and no port."""
    launch = Launch(tmp_path, temporary, tiny("build_nothing"), ports)
    with launch.running() as process:
        _, errors = process.communicate(timeout=150)
        assert process.returncode == 1
        assert errors.splitlines()[-1].startswith(
            "error: application 'tiny' could not be deployed: LookupError: no model here"
        )
        launch.assert_nothing_left()


def test_ctrl_c(tmp_path, temporary, ports):
    """Ctrl-C ends every process and frees every port; the logs lie in a private folder."""
    launch = Launch(tmp_path, temporary, tiny("build"), ports)
    with launch.running() as process:
        banner = next((line for line in process.stdout if line.startswith("Serving on")), "")
        assert banner, process.stderr.read()
        assert banner.split()[-1] == launch.url.replace("127.0.0.1", "localhost")
        with urllib.request.urlopen(launch.url, timeout=5) as response:
            assert response.read() == b"healthy"
        logs = next(line for line in process.stdout if line.startswith("Logs:")).split()[1]
        assert "serve" in {path.name for path in Path(logs).parent.iterdir()}
        private = temporary / f"tradeserve-{os.getuid()}"
        assert Path(logs).is_relative_to(private)
        assert private.stat().st_mode & 0o7777 == 0o700
        names = {process.name() for process in launch.processes()}
        assert {"raylet", "gcs_server", "haproxy"} <= names
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        launch.assert_nothing_left()
