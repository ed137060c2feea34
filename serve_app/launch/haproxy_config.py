"""HAProxy's configuration: that of Ray Serve with our limits and our failover. Pure: no IO."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from serve_app.launch.haproxy_shedding import PREDICTIONS, shedding_rules

HEADERS_TIMEOUT_S = 5
"""The time allowed for the headers of a request, and before the first byte of a connection."""

CLIENT_TIMEOUT_S = 35
"""The time for which a client may neither send nor read; above the router's limit for a body."""

MAX_CONNECTIONS_PER_ADDRESS = 512
"""Connections that one address may hold open; LIMIT_VARIABLE overrides it for a load balancer."""

MAX_CONNECTIONS = 16_384
"""Connections that HAProxy holds open if the limit on descriptors permits as many."""

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # Last: the rules recognise a router's response by this header.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""The headers of HAProxy's own responses; a test compares them with the router's."""

RESPONSES = {
    500: ("proxy_failed", "the proxy failed on this request; repeat it", 1),
    502: ("router_failed", "the router ended during the request; repeat it", 0),
    503: ("no_router", "no router is ready; repeat the request", 1),
    504: ("router_failed", "the router did not respond in time; repeat the request", 0),
}
"""HAProxy's own errors, each returned as 503: code, message and Retry-After in seconds.

HAProxy uses no such file for requests that are not HTTP (400) or whose headers are late (408): its
texts for these are fixed, and repeat nothing of the request.
"""

REPEATABLE = PREDICTIONS
"""The start of the paths whose requests are sent to another router if theirs ends before it has
responded; other requests may have had an effect. A request that exceeds HAProxy's buffer is not."""

ROUTER_CHECK = "inter 200ms fastinter 50ms downinter 100ms fall 3 rise 1"
"""The checks of a router whose heartbeat thread HAProxy reaches: one that hangs is found within a
second, and its requests are sent to another one; `haproxy_spare.py` finds a stopped one sooner.
With shorter intervals a busy machine would count its routers as down. Costs 5 connections per
second and router."""

OVERLOADED = (
    "overloaded",
    "expected a response within the deadline of the request, but too many requests are in flight; "
    "retry in 1 s or send fewer requests",
    1,
)
"""The code, the message and Retry-After for a prediction that would be late; returned as 503."""

NO_ENDPOINT = ("no_such_endpoint", "no such endpoint; see /docs for the endpoints")
"""The code and the message for Serve's own paths, which are not for clients."""

_MARKER = "# limits of tradeserve"
_DESCRIPTORS_PER_CONNECTION = 2.5
_RESERVED_DESCRIPTORS = 200


class UnknownTemplateError(Exception):
    """A line of Ray Serve's configuration is not as expected, so that a limit cannot be added."""


def with_limits(
    config: str,
    folder: Path,
    per_address: int,
    max_connections: int,
    host: str = "",
    heartbeats: Mapping[str, Path] = MappingProxyType({}),
) -> str:
    """Return HAProxy's configuration with the limits added; with them already there, unchanged.

    Args:
        config: the configuration that Ray Serve wrote.
        folder: contains `error_files`.
        per_address: connections that one address may hold open.
        max_connections: connections that HAProxy may hold open.
        host: the IPv6 address to listen on instead of the configuration's address.
        heartbeats: the sockets of the heartbeat threads of this node's routers, by replica.

    Raises:
        UnknownTemplateError: this version of Ray Serve writes another configuration.
    """
    if _MARKER in config:
        return config
    config = re.sub(r"^ +errorfile .*\n", "", config, flags=re.MULTILINE)
    if host:
        config = _listening_on(host, config)
    config = _with_heartbeats(config, heartbeats)
    shedding = shedding_rules(config, _unavailable(*OVERLOADED))
    errors = "".join(f"    errorfile {status} {folder}/{status}.http\n" for status in RESPONSES)
    for pattern, replacement in (
        (r"^( +maxconn )\d+$", rf"\g<1>{max_connections}"),
        # Any process that can write to this socket controls HAProxy.
        (r"^( +stats socket .*) mode 666 ", r"\1 mode 600 "),
        (r"^( +)timeout client \d+s", rf"\1timeout client {CLIENT_TIMEOUT_S}s"),
        (r"^( +retry-on conn-failure)$", r"\1 empty-response"),
        # Metrics count the requests: a datagram for each would cost HAProxy a fifth of its time.
        (r"^( +)option httplog$", r"\g<0>\n\1option dontlog-normal"),
        # Serve's own, in plain text, while no application is deployed.
        (
            r"^( +http-request return) status 404 content-type text/plain lf-string .*$",
            rf"\1 {_returned('no_router')}",
        ),
        (
            r"^defaults\n",
            rf"\g<0>    {_MARKER}\n    timeout http-request {HEADERS_TIMEOUT_S}s\n"
            rf"    option http-ignore-probes\n{errors}",
        ),
        # Both listen on every interface otherwise.
        (r"^(frontend prometheus\n +bind ):", r"\g<1>127.0.0.1:"),
        (r"^(listen stats\n +bind )\*:", r"\g<1>127.0.0.1:"),
        (
            r"^frontend http_frontend\n",
            rf"\g<0>{_frontend(per_address, max_connections)}{shedding}",
        ),
    ):
        config = _replaced(pattern, replacement, config)
    return config


def _with_heartbeats(config: str, heartbeats: Mapping[str, Path]) -> str:
    """Return the configuration with checks of the routers' heartbeat threads.

    A lone router is checked as Serve does: a request has no other one to go to.
    """
    servers = re.compile(r"^( +server \S+-(\w+) \S+ check\b.*)$", flags=re.MULTILINE)
    if sum(name in heartbeats for _, name in servers.findall(config)) < 2:
        return config

    def checked(server: re.Match[str]) -> str:
        path = heartbeats.get(server[2])
        if path is None:
            return server[1]
        return f"{server[1]} addr unix@{path} {ROUTER_CHECK} on-marked-down shutdown-sessions"

    return servers.sub(checked, config)


def _listening_on(host: str, config: str) -> str:
    """Return the configuration with a frontend that listens on an IPv6 address."""
    address = ipaddress.IPv6Address(host)
    if address.is_unspecified:
        # Two sockets: with one, the addresses of IPv4 clients would not be those of the rules.
        binds = r"\g<1>bind 0.0.0.0:\g<2>\n    bind [::]:\g<2> v6only"
    else:
        binds = rf"\g<1>bind [{address}]:\g<2>"
    return _replaced(r"^(frontend http_frontend\n +)bind \S+:(\d+)$", binds, config)


def _replaced(pattern: str, replacement: str, config: str) -> str:
    config, count = re.subn(pattern, replacement, config, flags=re.MULTILINE)
    if count != 1:
        raise UnknownTemplateError(
            f"HAProxy's configuration: expected one line {pattern!r}, received {count}; use "
            f"the version of Ray that requirements.lock pins, or set "
            f"RAY_SERVE_HAPROXY_BINARY_PATH to HAProxy itself and lose these limits"
        )
    return config


def _frontend(per_address: int, max_connections: int) -> str:
    """Return the rules of the frontend.

    All programs on the server's own machine share one address, and one of them must not lock out
    the others: connections beyond the limit are served, but closed after each response. Together
    they leave a quarter of HAProxy's connections to other addresses.
    """
    headers = "".join(
        f'    http-after-response set-header {name} "{value}" if !ts_from_router\n'
        for name, value in SECURITY_HEADERS.items()
    )
    no_endpoint = f"status 404 content-type application/json string '{_body(*NO_ENDPOINT)}'"
    return (
        # Serve's list of applications, and for pages of browsers also its health check, which
        # KubeRay requires: both rules of Serve below precede the checks of the router.
        f"    http-request return {no_endpoint} if {{ path -i /-/routes }}\n"
        f"    acl ts_page req.hdr(origin) -m found\n"
        f"    acl ts_page req.hdr(sec-fetch-site) -m found\n"
        f"    http-request return {no_endpoint} if {{ path -i /-/healthz }} ts_page\n"
        f"    acl ts_repeatable path_beg {REPEATABLE}\n"
        f"    http-request disable-l7-retry if !ts_repeatable !{{ method GET }}\n"
        f"    acl ts_from_router res.hdr(content-security-policy) -m found\n"
        # Texts of Serve, while a router starts or ends.
        f"    acl ts_json res.hdr(content-type) -m beg application/json\n"
        f"    http-response return {_returned('proxy_failed')}"
        f" if {{ status ge 500 }} !ts_from_router !ts_json\n"
        f"    http-response return {_returned('no_router')}"
        f" if {{ status 404 }} !ts_from_router !ts_json\n"
        f"    stick-table type ipv6 size 100k expire 1m store conn_cur\n"
        f"    tcp-request connection track-sc0 src\n"
        f"    acl ts_local src 127.0.0.1 ::1\n"
        f"    acl ts_over_limit sc0_conn_cur gt {per_address}\n"
        f"    tcp-request connection reject if ts_over_limit !ts_local\n"
        f"    tcp-request connection reject if {{ sc0_conn_cur gt {max_connections * 3 // 4} }}\n"
        f"    tcp-request connection set-var(sess.ts_over_limit) bool(true) if ts_over_limit\n"
        f"    http-after-response set-header Connection close"
        f" if {{ var(sess.ts_over_limit) -m bool }}\n"
        f"{headers}"
    )


def _returned(code: str) -> str:
    """Return the parameters of HAProxy's `return` for one of `RESPONSES`."""
    return _unavailable(*next(response for response in RESPONSES.values() if response[0] == code))


def _unavailable(code: str, message: str, retry_after_s: int) -> str:
    return (
        f"status 503 content-type application/json string '{_body(code, message)}' "
        f"hdr Retry-After {retry_after_s}"
    )


def error_files() -> Mapping[str, str]:
    """Return the files with HAProxy's own responses by name."""
    return {f"{status}.http": _response(*response) for status, response in RESPONSES.items()}


def _response(code: str, message: str, retry_after_s: int) -> str:
    body = _body(code, message)
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Retry-After": str(retry_after_s),
        "Connection": "close",
    }
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(["HTTP/1.1 503 Service Unavailable", *lines, "", body])


def _body(code: str, message: str) -> str:
    return f'{{"error":{{"code":"{code}","message":"{message}"}}}}'


def affordable_connections(descriptors: int) -> int:
    """Return the connections that HAProxy can hold with a limit on its file descriptors."""
    affordable = int((descriptors - _RESERVED_DESCRIPTORS) / _DESCRIPTORS_PER_CONNECTION)
    return max(1, min(MAX_CONNECTIONS, affordable))


def has_routers(config: str) -> bool:
    """Return whether requests are sent to an application."""
    return re.search(r"(?m)^ +use_backend ", config) is not None


def without_frontend(config: str, number: int) -> str:
    """Return the configuration with a frontend that no client reaches; `number` names its socket.

    A new proxy actor starts HAProxy before it knows the routers. Until it reloads it, the HAProxy
    before or its spare serves.
    """
    head, frontend, rest = re.split(r"(?m)^(frontend http_frontend\n)", config, maxsplit=1)
    rest, end, others = rest.partition("\nbackend ")
    rest = re.sub(r"^ +bind .*$", f"    bind abns@tradeserve-{number}", rest, flags=re.MULTILINE)
    return head + frontend + rest + end + others


def spare_config(config: str) -> str:
    """Return the configuration of the spare, which accepts no connection until it is to serve.

    One is the least that a configuration can state; the spare itself sets none when it has started.
    """
    config = _replaced(r"^( +stats socket .*/)admin\.sock ", r"\1spare.sock ", config)
    return re.sub(r"(?m)^((?:frontend|listen) \S+\n)", r"\1    maxconn 1\n", config)
