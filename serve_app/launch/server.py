"""One launch: `serve run` in its own Ray cluster, from its start to its last process."""

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil
import yaml

from serve_app.launch.banner import HEALTH_PATH, local_url
from serve_app.launch.components import observe_processes
from serve_app.launch.config import ServeConfig
from serve_app.launch.errors import StartupError
from serve_app.launch.output import dashboard_url, failure_reason
from serve_app.launch.process_tree import MARKER, ProcessTree
from serve_app.launch.ray_token import request_headers
from serve_app.launch.readiness import (
    application_states,
    failure,
    is_healthy,
    is_unhealthy,
    progress,
)
from serve_app.launch.session_folder import logs_folder
from serve_app.launch.supervision import Fault, Supervision, advance
from serve_app.launch.terminal import StopRequests, print_line
from serve_app.timeouts import SERVER_START_S

STOP_GRACE_S = 6.0
"""The time allowed for Serve to drain its routers before every process is killed."""
POLL_S = 0.2

FORWARDING_TIMEOUT_S = 1.0
"""The time allowed for the last output of the server to reach the terminal."""

DRIVER_END_S = 10.0
"""The time allowed for a driver that has failed to end, once it has ended its cluster."""
KEPT_LINES = 500
"""Lines of the output in which the reason of a failure is searched for."""


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
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        launch = uuid.uuid4().hex
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter
            # A new cluster, regardless of other clusters on this machine and of RAY_ADDRESS.
            serve_command(config, folder),
            cwd=None if config.resolved is None else folder,
            env={**environment, "PYTHONUNBUFFERED": "1", MARKER: launch},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Only this process receives the terminal's Ctrl-C; it passes it on to the child, once.
            start_new_session=True,
        )
        self._tree = ProcessTree(launch, self.session)
        self._forwarder = threading.Thread(target=self._forward, daemon=True)
        self._forwarder.start()

    @property
    def session(self) -> int:
        """The session of the server's processes."""
        return self._child.pid

    @property
    def url(self) -> str:
        """The URL at which a program on this machine reaches the server."""
        return local_url(self._config)

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
        url = self.url + HEALTH_PATH
        deadline_s = time.monotonic() + SERVER_START_S
        observed = Supervision()
        while not self._stop_requests.any and not is_healthy(url):
            self._expect_alive()
            observed, step = advance(observed, observe_processes(self.session), time.monotonic())
            if step.restart is not None:
                self._raise_ended(step.restart)
            states = self.application_states()
            if failed := failure(states, is_unhealthy(url)):
                raise StartupError(*failed)
            if time.monotonic() > deadline_s:
                raise StartupError(
                    f"{url} did not return 200 within {SERVER_START_S:.0f} s: "
                    f"{progress(states)}; check the output above and the logs in {self.logs}"
                )
            time.sleep(POLL_S)

    def stop(self, *, at_once: bool = False) -> list[psutil.Process]:
        """End every process of the launch; return the processes that survived.

        Args:
            at_once: whether to end them without waiting: those of a broken cluster wait for the
                component that is missing.
        """
        self._quiet = True
        if self._child.poll() is None and not at_once:
            self._child.send_signal(signal.SIGINT)
        deadline_s = time.monotonic() + STOP_GRACE_S
        while self._child.poll() is None and time.monotonic() < deadline_s:
            if at_once or self._stop_requests.hurry:
                break
            time.sleep(POLL_S)
        left = self._tree.end(lambda: at_once or self._stop_requests.hurry)
        if self._child.poll() is not None:
            self._forwarder.join(FORWARDING_TIMEOUT_S)
        return left

    def application_states(self) -> Mapping[str, Any]:
        """Return the state of every application by name, {} while Serve does not report it."""
        if self._dashboard_url is None:
            return {}
        return application_states(self._dashboard_url, request_headers(self._environment))

    def _expect_alive(self) -> None:
        if self._child.poll() is not None:
            self._forwarder.join(FORWARDING_TIMEOUT_S)
            reason = failure_reason(list(self._last_lines))
            code = f"the server ended with exit code {self._child.returncode}"
            problem = code if reason is None else f"{reason} ({code})"
            raise StartupError(f"{problem}; check the output above")

    def _raise_ended(self, fault: Fault) -> NoReturn:
        """Raise the reason for which a component has ended during the start."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(DRIVER_END_S)  # a driver that fails ends the components, then itself
        self._expect_alive()
        if (reason := failure_reason(list(self._last_lines))) is not None:
            raise StartupError(f"{reason} ({fault.summary}); check the output above")
        raise StartupError(
            f"{fault.summary} while the server started; check the logs in {self.logs.parent}"
        )

    def _forward(self) -> None:
        """Print the server's output, and find the address of the dashboard in it."""
        assert self._child.stdout is not None
        with self._child.stdout as output:
            for line in output:
                if self._dashboard_url is None:
                    self._dashboard_url = dashboard_url(line)
                self._last_lines.append(line)
                if not self._quiet:
                    print_line(line.rstrip("\n"))


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
