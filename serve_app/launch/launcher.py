"""`modelctl serve`: the checks before a start, the server, its restarts, and its end."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serve_app.launch.banner import banner
from serve_app.launch.config import ServeConfig, check_registries, check_tokens, read_config
from serve_app.launch.environment import haproxy_files, server_environment
from serve_app.launch.errors import LaunchError, RestartsError, StartupError, StopError
from serve_app.launch.haproxy import HOST_VARIABLE
from serve_app.launch.leftovers import remove_leftovers
from serve_app.launch.ports import check_ports, needed_ports
from serve_app.launch.ray_token import ensure_token
from serve_app.launch.resolved_config import ipv6_host
from serve_app.launch.server import Server
from serve_app.launch.session_folder import prepare_folder
from serve_app.launch.supervision import (
    MAX_RESTARTS,
    RESTARTS_WINDOW_S,
    Fault,
    may_restart,
)
from serve_app.launch.supervisor import observing, supervise
from serve_app.launch.terminal import StopRequests, print_event, print_line

HAPROXY_FOLDERS = Path("/tmp")  # noqa: S108 - TMPDIR may be too long for the paths of sockets
HAPROXY_PREFIX = "tradeserve-ha"


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a server for which no stop was requested."""

    fault: Fault
    time_s: float
    """The monotonic time at which it was detected."""


def serve(path: Path) -> None:
    """Serve the configuration file until Ctrl-C, SIGTERM or SIGHUP.

    Relative paths in the file, such as the registry's folder, are resolved against the working
    directory. A server whose cluster has failed is replaced by a new one.

    Raises:
        LaunchError: the server could not start, failed too often (RestartsError), or could not be
            ended (StopError).
    """
    config = read_config(path)
    check_registries(config)
    check_tokens(config)
    environment = server_environment(os.environ)
    if config.resolved is not None and (host := ipv6_host(config.host)):
        environment[HOST_VARIABLE] = host
    ensure_token(environment)
    prepare_folder(environment)
    haproxy_folders = list(HAPROXY_FOLDERS.glob(f"{HAPROXY_PREFIX}*"))
    remove_leftovers(environment, haproxy_folders, Path(tempfile.gettempdir()))
    check_ports(needed_ports(config, environment))
    stop = StopRequests()
    with stop.watched():
        print_line(f"Starting {config.path.name}; it takes about 15 s.")
        failure = _run(config, environment, stop)
        failed_s: list[float] = []
        while failure is not None and not stop.any:
            _expect_allowed(failure, failed_s)
            failed_s.append(failure.time_s)
            failure = _restart(config, environment, stop, failure)
        print_line("Stopped.")


def _run(
    config: ServeConfig,
    environment: Mapping[str, str],
    stop: StopRequests,
    previous: Failure | None = None,
) -> Failure | None:
    """Run one server; return its failure, or None if a stop was requested.

    Args:
        config: the configuration.
        environment: the environment of the server.
        stop: the requests to stop.
        previous: the failure of the server that this one replaces.
    """
    failure = None
    with _haproxy_folder() as folder:
        server = Server(config, {**haproxy_files(folder), **environment}, stop, folder)
        try:
            server.wait_until_healthy()
            if not stop.any:
                if previous is not None:
                    passed_s = time.monotonic() - previous.time_s
                    print_event(f"server: restored after {passed_s:.0f} s")
                print_line(banner(config, server.logs))
                with observing(server) as observe:
                    fault = supervise(observe, print_event, lambda: stop.any)
                if fault is not None:
                    failure = Failure(fault, time.monotonic())
            if failure is None:
                print_line("Stopping; press Ctrl-C again to stop at once.")
        finally:
            left = server.stop(at_once=failure is not None)
    if left:
        names = ", ".join(f"{process.name()} (pid {process.pid})" for process in left)
        raise StopError(names)
    return failure


def _restart(
    config: ServeConfig, environment: Mapping[str, str], stop: StopRequests, failure: Failure
) -> Failure | None:
    """Run a new server in place of one that has failed and ended; the result is that of `_run`.

    Raises:
        RestartsError: it could not start.
        StopError: it could not be ended.
    """
    try:
        check_ports(needed_ports(config, environment))
        return _run(config, environment, stop, failure)
    except StopError:
        raise
    except LaunchError as error:
        details = error.details if isinstance(error, StartupError) else ""
        problem = f"the restart failed: {error}"
        raise RestartsError(failure.fault.summary, problem, details) from error


def _expect_allowed(failure: Failure, failed_s: Sequence[float]) -> None:
    """Report a restart after those at the monotonic times `failed_s`.

    Raises:
        RestartsError: the server was restarted too often.
    """
    cause, within = failure.fault.summary, f"within {RESTARTS_WINDOW_S / 60:.0f} min"
    if not may_restart(failed_s, failure.time_s):
        problem = (
            f"the server was restarted {MAX_RESTARTS} times {within}; read the lines above and the "
            f"logs, then start it again"
        )
        raise RestartsError(cause, problem)
    print_event(f"server: restarting ({cause}), at most {MAX_RESTARTS} times {within}")


@contextmanager
def _haproxy_folder() -> Iterator[Path]:
    """Yield a new folder that only this user can enter."""
    folder = Path(tempfile.mkdtemp(prefix=HAPROXY_PREFIX, dir=HAPROXY_FOLDERS))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
