"""The environment a cluster needs before `ray start` or `serve run`; the one place that lists it.

Ray Serve reads these flags when a process imports it, so that a deployment's `runtime_env` is too
late for them. `modelctl serve` sets them by itself; for a cluster of your own:
`eval "$(modelctl env)"; ray start --head; serve deploy serve_config.yaml`.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

MAX_HAPROXY_FOLDER_LENGTH = 27
"""Longest path for `haproxy_files`. A socket's path holds 107 characters, of which Ray and HAProxy
take 80 below the folder: /<node id, 56>/admin.sock.<process id, up to 7>.tmp"""

SERVER_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # HAProxy takes the requests and hands them straight to the routers' own HTTP servers: an
        # empty request takes 0.3 ms instead of 6. Costs one more process, and a stats and a
        # metrics port that listen on every interface.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # gRPC between deployments, our code on the replica's own event loop, buffered request logs:
        # a call through a handle takes 2.6 ms instead of 4.1. Costs sight: Serve's own log lines go
        # to Ray's log folder only, and the last ones before a crash may be missing. And a model run
        # holds up the replica's health check, which has 30 s to answer; a thread of its own for our
        # code (RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD=1) would cost 0.7 ms a request.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # How long a router that is being replaced keeps answering, so that HAProxy has let go of
        # it before it ends: in a rollout under load no request then waits longer than about
        # 0.2 s, with 0 it is 1 s. Every shutdown and every rollout of the router takes this much
        # longer; a load balancer in front of several nodes may need more (Ray's default is 30).
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        # How often HAProxy's keeper is asked whether it lives, and how long it may take to answer:
        # a dead HAProxy is back after 4 s instead of 22 to 31. Costs one call a second and node.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        # HAProxy's buffer holds a whole request, 136 KB as JSON: a router is woken once for it, not
        # nine times. Costs HAProxy up to this much, twice, for each request under way.
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "262144",
        # Routers count their requests themselves; HAProxy writes no line for each, which its keeper
        # would read to count them, for 0.08 ms of processor time a request. Costs the count of what
        # HAProxy answers itself while no router is there; its own metrics, on 9101, stay.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Requests for predictions go from a router's HTTP server straight to its service, past the
        # layers that Serve wraps around every request. Costs Serve's own metrics of them (the
        # router counts them itself), and this package must be installed on every node.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.deployments.fast_path:middlewares",
        # Routers and models compete for the cores as any other process does. Ray's default of 15
        # lets whatever else runs on the machine go first.
        "RAY_worker_niceness": "0",
        # No token between the parts of the cluster; unset, Ray invents one in the home folder, and
        # the next `serve deploy` may be refused. Costs protection: whoever reaches Ray's ports can
        # run code, so keep them behind a firewall, or set `token` on every node and client.
        "RAY_AUTH_MODE": "disabled",
        # Nothing is reported to Ray's makers.
        "RAY_USAGE_STATS_ENABLED": "0",
        # Nor to ONNX Runtime's, which else keeps a database for it below ~/.cache.
        "ORT_DISABLE_TELEMETRY": "1",
    }
)


def server_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` with every flag of SERVER_ENVIRONMENT that it does not set itself."""
    return {**SERVER_ENVIRONMENT, **base}


def haproxy_files(folder: Path) -> dict[str, str]:
    """Return the variables that keep HAProxy's files below `folder`.

    By default Ray leaves them in one folder for every user and cluster of the machine, for good.

    Raises:
        ValueError: the folder's path is longer than MAX_HAPROXY_FOLDER_LENGTH characters.
    """
    if len(str(folder)) > MAX_HAPROXY_FOLDER_LENGTH:
        raise ValueError(
            f"HAProxy's folder {folder}: expected a path of at most {MAX_HAPROXY_FOLDER_LENGTH} "
            f"characters, since its sockets' paths have a limit, received {len(str(folder))}"
        )
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }
