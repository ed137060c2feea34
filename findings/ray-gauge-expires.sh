#!/usr/bin/env bash
# A gauge that is set once disappears from Ray's metrics endpoint while its process lives on.
#
# Versions   ray 2.60.0, Python 3.11
# Behaviour  An actor sets a ray.util.metrics.Gauge and increments a Counter, once each. The node's
#            Prometheus endpoint exports both. Two report periods later (RAY_metrics_report_interval_ms,
#            10 s by default, 2 s here) the gauge is gone, and the counter stays. A gauge is exported
#            only while it is set again and again: a value that changes seldom looks like a process
#            that has died, and `absent()` fires on it.
# Expected   A Prometheus gauge keeps its last value as long as its process is scraped.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
cleanup() {
    pkill -9 -f "$work/ray" || true
    rm -rf "$work"
}
trap cleanup EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet "ray[default]==2.60.0"
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_metrics_report_interval_ms=2000
read -r port metrics_port dashboard_port < <("$work/venv/bin/python" - <<'PYTHON'
import socket

sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
)
"$work/venv/bin/ray" start --head --port="$port" --metrics-export-port="$metrics_port" \
    --dashboard-port="$dashboard_port" --temp-dir="$work/ray" >"$work/start.log" 2>&1 \
    || { cat "$work/start.log"; exit 2; }
cat >"$work/observe.py" <<'PYTHON'
import sys
import time
import urllib.request

import ray
from ray.util.metrics import Counter, Gauge


@ray.remote(num_cpus=0)
class Process:
    def __init__(self):
        self.gauge = Gauge("seldom_set", description="A gauge that is set once.")
        self.counter = Counter("seldom_counted", description="A counter that is counted once.")

    def measure(self):
        self.gauge.set(5.0)
        self.counter.inc(1)

    def is_alive(self):
        return True


def exported():
    with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/metrics", timeout=5) as response:
        lines = response.read().decode().splitlines()
    return {name for name in ("seldom_set", "seldom_counted") if any(
        line.startswith(f"ray_{name}") for line in lines)}


def wait_for(wanted, timeout_s):
    deadline = time.monotonic() + timeout_s
    while exported() != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


ray.init(f"127.0.0.1:{sys.argv[1]}", log_to_driver=False, logging_level="ERROR")
process = Process.remote()
ray.get(process.measure.remote())
if not wait_for({"seldom_set", "seldom_counted"}, 30):
    sys.exit(f"expected both metrics to be exported first, received {exported()}")
print("exported: gauge and counter")
began = time.monotonic()
if not wait_for({"seldom_counted"}, 30):
    sys.exit(f"the behaviour has changed: after 30 s {sorted(exported())} are exported")
print(f"after {time.monotonic() - began:.1f} s: the counter alone")
assert ray.get(process.is_alive.remote())
print("the process is alive")
PYTHON
"$work/venv/bin/python" "$work/observe.py" "$port" "$metrics_port"
