"""A server that `modelctl serve` runs, with every process that it starts."""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from serve_app.launch.config import read_config
from serve_app.launch.ports import check_ports, needed_ports
from serve_app.launch.process_tree import is_in_session
from testkit.paths import ROOT

MARKER = "TRADESERVE_TEST_LAUNCH"


class Launch:
    """A configuration on free ports, and an environment that identifies its processes.

    Args:
        folder: receives the configuration.
        temporary: the TMPDIR of the server; its name must be short.
        application: the application, in the form of the configuration.
        ports: of HTTP, and HAProxy's three others.
    """

    def __init__(
        self,
        folder: Path,
        temporary: Path,
        application: Mapping[str, Any],
        ports: Sequence[int],
    ) -> None:
        http, stats, metrics, fallback = ports
        self.url = f"http://127.0.0.1:{http}"
        self.config = folder / "serve_config.yaml"
        content = {
            "proxy_location": "HeadOnly",
            "http_options": {"host": "127.0.0.1", "port": http},
            "applications": [dict(application)],
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
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """Run the server until the context closes."""
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

    def processes(self) -> list[psutil.Process]:
        """Return the living processes whose environment names this launch."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def named(self, start: str) -> list[psutil.Process]:
        """Return the living processes of the server's session whose name starts with `start`."""
        sessions = set()
        for process in self.processes():
            with suppress(ProcessLookupError):  # it has just ended
                sessions.add(os.getsid(process.pid))
        sessions -= {os.getsid(0)}  # that of the launcher, and of the tests
        found = []
        for process in psutil.process_iter():
            if any(is_in_session(process, session) for session in sessions):
                with suppress(psutil.NoSuchProcess):
                    if process.name().startswith(start):
                        found.append(process)
        return found

    def assert_nothing_left(self) -> None:
        """Expect that no process is left, and that every port is free."""
        assert self.processes() == []
        check_ports(needed_ports(read_config(self.config), self.environment))

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and process.environ().get(MARKER) == self.environment[MARKER]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


class Output:
    """Collects the lines of a process in a thread, so that the process never waits for a reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, text: str, since: int, timeout_s: float) -> str:
        """Return the first line from index `since` on that contains `text`."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for line in self.lines[since:]:
                if text in line:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} within {timeout_s} s in:\n{''.join(self.lines)}")

    def _read(self) -> None:
        self.lines.extend(self._stream)
