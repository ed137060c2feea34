"""`modelctl serve` from the command line to its last process, with a minimal application."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from serve_app.launch.config import read_config
from serve_app.launch.ports import check_ports, needed_ports
from testkit.cluster import free_ports
from testkit.paths import ROOT

MARKER = "TRADESERVE_TEST_LAUNCH"


class Launch:
    """A configuration on free ports, and an environment that identifies its processes."""

    def __init__(self, folder, temporary, builder, ports):
        http, stats, metrics, fallback = ports
        self.url = f"http://127.0.0.1:{http}"
        self.config = folder / "serve_config.yaml"
        application = {"name": "tiny", "route_prefix": "/"}
        application["import_path"] = f"testkit.tiny_app:{builder}"
        content = {
            "proxy_location": "HeadOnly",
            "http_options": {"host": "127.0.0.1", "port": http},
            "applications": [application],
        }
        self.config.write_text(yaml.safe_dump(content))
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            # A cluster that the shell names must not matter.
            "RAY_ADDRESS": "127.0.0.1:9",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
            "TMPDIR": str(temporary),
            MARKER: uuid.uuid4().hex,
        }

    @contextmanager
    def running(self):
        process = subprocess.Popen(
            [Path(sys.executable).with_name("modelctl"), "serve", self.config],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                for survivor in self.processes():
                    survivor.kill()

    def processes(self):
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process):
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and process.environ().get(MARKER) == self.environment[MARKER]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def assert_nothing_left(self):
        assert self.processes() == []
        check_ports(needed_ports(read_config(self.config), self.environment))


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


def test_failed_application(tmp_path, temporary, ports):
    """An application that cannot be built is reported, and leaves no process and no port."""
    launch = Launch(tmp_path, temporary, "build_nothing", ports)
    with launch.running() as process:
        _, errors = process.communicate(timeout=150)
        assert process.returncode == 1
        assert errors.splitlines()[-1] == (
            "error: application 'tiny' could not be deployed: LookupError: no model here"
        )
        launch.assert_nothing_left()


def test_ctrl_c(tmp_path, temporary, ports):
    """Ctrl-C ends every process and frees every port; the logs lie in a private folder."""
    launch = Launch(tmp_path, temporary, "build", ports)
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
