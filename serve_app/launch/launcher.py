"""`modelctl serve`: the checks before a start, the server, and its end."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve_app.launch.banner import banner
from serve_app.launch.config import check_registries, check_tokens, read_config
from serve_app.launch.environment import haproxy_files, server_environment
from serve_app.launch.errors import StopError
from serve_app.launch.haproxy import HOST_VARIABLE
from serve_app.launch.leftovers import remove_leftovers
from serve_app.launch.ports import check_ports, needed_ports
from serve_app.launch.ray_token import ensure_token
from serve_app.launch.resolved_config import ipv6_host
from serve_app.launch.server import Server
from serve_app.launch.session_folder import prepare_folder
from serve_app.launch.terminal import StopRequests, print_line

HAPROXY_FOLDERS = Path("/tmp")  # noqa: S108 - TMPDIR may be too long for the paths of sockets
HAPROXY_PREFIX = "tradeserve-ha"


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
        print_line(f"Starting {config.path.name}; it takes about 15 s.")
        server = Server(config, {**haproxy_files(folder), **environment}, stop, folder)
        try:
            server.wait_until_healthy()
            if not stop.any:
                print_line(banner(config, server.logs))
            server.wait_until_stop_requested()
            print_line("Stopping; press Ctrl-C again to stop at once.")
        finally:
            left = server.stop()
        if left:
            names = ", ".join(f"{process.name()} (pid {process.pid})" for process in left)
            raise StopError(names)
        print_line("Stopped.")


@contextmanager
def _haproxy_folder() -> Iterator[Path]:
    """Yield a new folder that only this user can enter."""
    folder = Path(tempfile.mkdtemp(prefix=HAPROXY_PREFIX, dir=HAPROXY_FOLDERS))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
