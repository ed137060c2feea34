"""One launch: `serve run` in its own Ray cluster, from its start to its last process."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import yaml

from serve_app.launch.config import ServeConfig, check_registries, check_tokens, read_config
from serve_app.launch.environment import haproxy_files, server_environment
from serve_app.launch.errors import StartupError, StopError
from serve_app.launch.haproxy import HOST_VARIABLE
from serve_app.launch.leftovers import remove_leftovers
from serve_app.launch.ports import check_ports, needed_ports
from serve_app.launch.process_tree import MARKER, ProcessTree
from serve_app.launch.ray_token import ensure_token, request_headers
from serve_app.launch.readiness import (
    application_states,
    failure,
    is_healthy,
    is_unhealthy,
    partial_failure,
    progress,
)
from serve_app.launch.resolved_config import ipv6_host
from serve_app.launch.session_folder import logs_folder, prepare_folder
from serve_app.timeouts import SERVER_START_S

STOP_GRACE_S = 6.0
"""The time allowed for Serve to drain its routers before every process is killed."""
POLL_S = 0.2
WATCH_EVERY_POLLS = 25
HEALTH_PATH = "/api/ml/health"
SAMPLE_REQUEST = Path("examples/eurusd/sample_request.json")
"""Below the folder of the configuration."""

HAPROXY_FOLDERS = Path("/tmp")  # noqa: S108 - TMPDIR may be too long for the paths of sockets
HAPROXY_PREFIX = "tradeserve-ha"

FORWARDING_TIMEOUT_S = 1.0
"""The time allowed for the last output of the server to reach the terminal."""

_DASHBOARD = re.compile(r"dashboard at\s.*?(http://[\w.:\[\]]+:\d+)")


class StopRequests:
    """Counts Ctrl-C, SIGTERM and SIGHUP, which then interrupt nothing."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def any(self) -> bool:
        """Whether a stop was requested."""
        return self.count > 0

    @property
    def hurry(self) -> bool:
        """Whether a stop was requested again, so that it must not wait."""
        return self.count > 1

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count the signals while the context is open."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


class Server:
    """`serve run` as a child process, with every process that it starts."""

    def __init__(
        self,
        config: ServeConfig,
        environment: Mapping[str, str],
        stop: StopRequests,
        folder: Path,
    ) -> None:
        self._config = config
        self._environment = environment
        self._stop_requests = stop
        self._dashboard_url: str | None = None
        self._quiet = False
        self._tree = ProcessTree(uuid.uuid4().hex)
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter
            # A new cluster, regardless of other clusters on this machine and of RAY_ADDRESS.
            serve_command(config, folder),
            cwd=None if config.resolved is None else folder,
            env={**environment, "PYTHONUNBUFFERED": "1", MARKER: self._tree.launch},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Only this process receives the terminal's Ctrl-C; it passes it on to the child, once.
            start_new_session=True,
        )
        self._forwarder = threading.Thread(target=self._forward, daemon=True)
        self._forwarder.start()

    @property
    def logs(self) -> Path:
        """The folder with Serve's logs of this server."""
        return logs_folder(self._environment, self._child.pid)

    def wait_until_healthy(self) -> None:
        """Wait until the health check returns 200 or a stop is requested.

        Raises:
            StartupError: the server ended, an application cannot be deployed, or the start took too
                long.
        """
        url = f"http://{_reachable(self._config.host)}:{self._config.port}{HEALTH_PATH}"
        deadline_s = time.monotonic() + SERVER_START_S
        while not self._stop_requests.any and not is_healthy(url):
            self._expect_alive()
            states = self._application_states()
            if failed := failure(states, is_unhealthy(url)):
                raise StartupError(*failed)
            if time.monotonic() > deadline_s:
                raise StartupError(
                    f"{url} did not return 200 within {SERVER_START_S:.0f} s: "
                    f"{progress(states)}; check the output above and the logs in {self.logs}"
                )
            time.sleep(POLL_S)

    def wait_until_stop_requested(self) -> None:
        """Wait until a stop is requested, and print failures that do not affect the rest.

        Raises:
            StartupError: the server ended.
        """
        reported: str | None = None
        polls = 0
        while not self._stop_requests.any:
            self._expect_alive()
            if polls % WATCH_EVERY_POLLS == 0:
                problem = partial_failure(self._application_states())
                if problem is not None and problem != reported:
                    _print(f"\nwarning: {problem}; the rest is still served")
                reported = problem
            polls += 1
            time.sleep(POLL_S)

    def stop(self) -> list[psutil.Process]:
        """End every process of the launch; return the processes that survived."""
        self._quiet = True
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
        deadline_s = time.monotonic() + STOP_GRACE_S
        while self._child.poll() is None and time.monotonic() < deadline_s:
            if self._stop_requests.hurry:
                break
            time.sleep(POLL_S)
        left = self._tree.end(lambda: self._stop_requests.hurry)
        if self._child.poll() is not None:
            self._forwarder.join(FORWARDING_TIMEOUT_S)
        return left

    def _application_states(self) -> Mapping[str, Any]:
        if self._dashboard_url is None:
            return {}
        return application_states(self._dashboard_url, request_headers(self._environment))

    def _expect_alive(self) -> None:
        if self._child.poll() is not None:
            self._forwarder.join(FORWARDING_TIMEOUT_S)
            code = self._child.returncode
            raise StartupError(f"the server ended with exit code {code}; check the output above")

    def _forward(self) -> None:
        """Print the server's output, and find the address of the dashboard in it."""
        assert self._child.stdout is not None
        with self._child.stdout as output:
            for line in output:
                if self._dashboard_url is None and (found := _DASHBOARD.search(line)):
                    self._dashboard_url = found[1]
                if not self._quiet:
                    _print(line.rstrip("\n"))


def serve_command(config: ServeConfig, folder: Path) -> list[str]:
    """Return the command that runs the configuration; write what it reads to `folder`.

    With our applications only, no module is imported from the working directory.
    """
    if config.resolved is None:
        command = [sys.executable, "-m", "ray.serve.scripts", "run", str(config.path)]
    else:
        written = folder / config.path.name
        written.write_text(yaml.safe_dump(dict(config.resolved)), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "ray.serve.scripts", "run", str(written)]
        command += ["--app-dir", str(folder)]
    return [*command, "--address", "local"]


def serve(path: Path) -> None:
    """Serve the configuration file until Ctrl-C, SIGTERM or SIGHUP.

    Relative paths in the file, such as the registry's folder, are resolved against the working
    directory.

    Raises:
        LaunchError: the server could not start, ended, or (StopError) could not be ended.
    """
    config = read_config(path)
    check_registries(config)
    check_tokens(config)
    environment = server_environment(os.environ)
    if config.resolved is not None and (host := ipv6_host(config.host)):
        environment[HOST_VARIABLE] = host
    ensure_token(environment)
    prepare_folder(environment)
    remove_leftovers(environment, list(HAPROXY_FOLDERS.glob(f"{HAPROXY_PREFIX}*")))
    check_ports(needed_ports(config, environment))
    stop = StopRequests()
    with stop.watched(), _haproxy_folder() as folder:
        _print(f"Starting {config.path.name}; it takes about 15 s.")
        server = Server(config, {**haproxy_files(folder), **environment}, stop, folder)
        try:
            server.wait_until_healthy()
            if not stop.any:
                _print(banner(config, server.logs))
            server.wait_until_stop_requested()
            _print("Stopping; press Ctrl-C again to stop at once.")
        finally:
            left = server.stop()
        if left:
            names = ", ".join(f"{process.name()} (pid {process.pid})" for process in left)
            raise StopError(names)
        _print("Stopped.")


@contextmanager
def _haproxy_folder() -> Iterator[Path]:
    """Yield a new folder that only this user can enter."""
    folder = Path(tempfile.mkdtemp(prefix=HAPROXY_PREFIX, dir=HAPROXY_FOLDERS))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def banner(config: ServeConfig, logs: Path) -> str:
    """Return the message of a healthy server: its address, a sample call and how to stop it."""
    host = "localhost" if config.host in {"0.0.0.0", "127.0.0.1", "::"} else config.host  # noqa: S104
    url = f"http://{_in_url(host)}:{config.port}"
    sample = config.path.parent / SAMPLE_REQUEST
    if sample.is_file():
        call = (
            f"curl -s {url}/api/ml/predict -H 'Content-Type: application/json' "
            f"-d @{shlex.quote(str(sample))}"
        )
    else:
        call = f"curl -s {url}{HEALTH_PATH}"
    return f"\nServing on {url}\nTry it:  {call}\nLogs:    {logs}\nStop it: Ctrl-C\n"


def _reachable(host: str) -> str:
    """Return the host at which a server that listens on `host` is reached."""
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else _in_url(host)  # noqa: S104


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _print(line: str) -> None:
    """Print a line for the operator; a closed terminal does not stop the server."""
    try:
        print(line, flush=True)  # noqa: T201 - this is the command's output
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process
