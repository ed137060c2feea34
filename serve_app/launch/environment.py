"""The environment that a cluster requires before `ray start` or `serve run`.

Ray Serve reads these flags when a process imports it, so a deployment's `runtime_env` is too late
for them. `modelctl serve` sets them; a cluster of your own is started with
`eval "$(modelctl env)"; ray start --head; serve deploy serve_config.yaml`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from serve_app.launch.ray_token import MODE_VARIABLE, PATH_VARIABLE, TOKEN_VARIABLE, token_path
from serve_app.launch.session_folder import FOLDER_VARIABLE, default_folder

MAX_HAPROXY_FOLDER_LENGTH = 27
"""Longest path for `haproxy_files`. The path of a socket has at most 107 characters, of which Ray
and HAProxy use 80 below the folder: /<node id, 56>/admin.sock.<process id, up to 7>.tmp"""

NODE_ADDRESS_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

SERVER_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # HAProxy forwards requests directly to the HTTP servers of the routers: an empty request
        # takes 0.3 ms instead of 6. Costs one more process, and a port for statistics and one for
        # metrics.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # Uses gRPC between deployments, runs our code on the replica's own event loop and buffers
        # request logs: a call through a handle takes 2.6 ms instead of 4.1. Costs visibility:
        # Serve's log lines go to Ray's log folder only, and the last ones before a crash may be
        # missing. A model run delays the replica's health check, which has a limit of 30 s; a
        # separate thread for our code (RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD=1) would cost
        # 0.7 ms per request.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # A router that is being replaced serves for this long, so that HAProxy has removed it
        # before it ends: during a rollout under load no request waits longer than about 0.2 s; with
        # 0 the wait is 1 s. Every shutdown and every rollout of the router takes this much longer;
        # a load balancer in front of several nodes may require more (Ray's default is 30).
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        # The period and the timeout of the health check of the proxy actor: a dead HAProxy is
        # restarted after 4 s instead of 22 to 31. Costs one call per second and node.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        # On a busy machine a proxy actor takes longer to start than Ray's 5 s. Four such checks in
        # a row replace it, and `serve run`, which waits for it, then fails. Costs time until a
        # proxy actor that never becomes ready is replaced.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
        # HAProxy's buffer holds a whole request, 136 KB as JSON, so that a router is woken once per
        # request instead of nine times. Costs HAProxy up to twice this memory per request in
        # flight.
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "262144",
        # Routers count their requests themselves. Otherwise HAProxy would write a line per request,
        # which the proxy actor would read for its counts at 0.08 ms of processor time per request.
        # Costs the count of HAProxy's own responses while there is no router; its own metrics, on
        # 9101, remain.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # The fast path: requests for predictions go directly from a router's HTTP server to its
        # prediction service and bypass Serve's layers. Costs Serve's metrics of these requests (the
        # router counts them itself), and this package must be installed on every node.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.deployments.fast_path:middlewares",
        # Routers and models have the priority of any other process. With Ray's default of 15 every
        # other process of the machine takes precedence.
        "RAY_worker_niceness": "0",
        # Every component of Ray requires the token of `serve_app.launch.ray_token`; without it each
        # of their ports runs code for anyone who reaches it. Costs a step: Ray's own commands, such
        # as `serve status`, work only in a shell with this environment.
        MODE_VARIABLE: "token",
        # The node's address is 127.0.0.1, so that every component of Ray listens on loopback only;
        # Ray intends the variable for other systems, and rewrites --node-ip-address=127.0.0.1 to an
        # external address without it. Costs further nodes: `modelctl env --multi-node` sets 1.
        NODE_ADDRESS_VARIABLE: "0",
        # A log file of Ray or Serve has at most 10 MB, and two predecessors of this size. Ray's
        # default is 512 MB, and five of them. Costs older lines.
        "RAY_ROTATION_MAX_BYTES": "10000000",
        "RAY_ROTATION_BACKUP_COUNT": "2",
        # Ray reports no usage statistics.
        "RAY_USAGE_STATS_ENABLED": "0",
        # ONNX Runtime reports no telemetry, for which it would keep a database below ~/.cache.
        "ORT_DISABLE_TELEMETRY": "1",
    }
)


MACHINE_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # Adds limits on connections and headers to the configuration that Serve writes for HAProxy,
        # and moves its statistics and metrics to loopback; see haproxy.py beside this module. Costs
        # 60 ms at each start and reload of HAProxy.
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).with_name("haproxy.sh")),
        # The interpreter that haproxy.sh runs.
        "TRADESERVE_PYTHON": sys.executable,
    }
)
"""Further flags, whose values depend on where this package is installed."""


def server_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` with each flag of the server and each path of the user that it does not set."""
    return {**SERVER_ENVIRONMENT, **MACHINE_ENVIRONMENT, **_user_paths(base), **base}


def client_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` with what a client requires to connect to a cluster of this user.

    Without the node's address Ray would replace a loopback address by the external one.
    """
    ours = {name: SERVER_ENVIRONMENT[name] for name in (MODE_VARIABLE, NODE_ADDRESS_VARIABLE)}
    return {**ours, **_user_paths(base), **base}


def exported(base: Mapping[str, str], is_multi_node: bool) -> dict[str, str]:
    """Return the variables that a shell exports before `ray start`.

    Args:
        base: the environment of the shell, whose values take precedence.
        is_multi_node: whether the cluster has nodes on other machines, so that Ray listens on the
            node's external address.
    """
    effective = server_environment(base)
    names = [*SERVER_ENVIRONMENT, *MACHINE_ENVIRONMENT, *_user_paths(base)]
    variables = {name: effective[name] for name in names}
    if is_multi_node:
        variables[NODE_ADDRESS_VARIABLE] = "1"
    return variables


def haproxy_files(folder: Path) -> dict[str, str]:
    """Return the variables that place HAProxy's files below `folder`.

    By default Ray places them in one folder for every user and cluster of the machine, and never
    removes them.

    Raises:
        ValueError: the folder's path is longer than MAX_HAPROXY_FOLDER_LENGTH characters.
    """
    if len(str(folder)) > MAX_HAPROXY_FOLDER_LENGTH:
        raise ValueError(
            f"HAProxy's folder {folder}: expected a path of at most {MAX_HAPROXY_FOLDER_LENGTH} "
            f"characters, since the paths of its sockets are limited, received {len(str(folder))}; "
            f"choose a shorter path"
        )
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


def _user_paths(base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with the paths of the user's token and temporary folder."""
    folder = {} if base.get(FOLDER_VARIABLE) else {FOLDER_VARIABLE: str(default_folder(base))}
    token = {} if base.get(TOKEN_VARIABLE) else {PATH_VARIABLE: str(token_path(base))}
    return {**folder, **token}
