#!/usr/bin/env bash
# Each call of an actor's method leaves a record in the GCS, although the call has long ended.
#
# Versions   ray 2.60.0, Python 3.11
# Behaviour  20,000 calls of an empty method of one actor, whose results are read at once, increase
#            the memory of the GCS by more than 10 MB, which is not released: Ray's task events, of
#            which it keeps up to 100,000 (RAY_task_events_max_num_task_in_gcs). As many calls of an
#            actor with enable_task_events=False leave it as it is. An actor that is polled ten times
#            per second thus looks like a leak of more than an hour in the head node's GCS.
# Expected   A call that has ended, and whose result has been read, uses no memory.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
cleanup() {
    pkill -9 -f "$work/ray" || true
    rm -rf "$work"
}
trap cleanup EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet "ray==2.60.0" psutil
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
read -r port metrics_port < <("$work/venv/bin/python" - <<'PYTHON'
import socket

sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
)
"$work/venv/bin/ray" start --head --port="$port" --metrics-export-port="$metrics_port" \
    --include-dashboard=false --temp-dir="$work/ray" >"$work/start.log" 2>&1 \
    || { cat "$work/start.log"; exit 2; }
cat >"$work/observe.py" <<'PYTHON'
import sys
import time

import psutil
import ray

CALLS, BATCH = 20_000, 500


@ray.remote(num_cpus=0)
class Empty:
    def call(self):
        return None


def gcs_mb():
    """Return the GCS's own memory once the last events have been sent (one second at the latest)."""
    time.sleep(4)
    for process in psutil.process_iter():
        if process.name() == "gcs_server" and sys.argv[2] in " ".join(process.cmdline()):
            return process.memory_full_info().uss / 1e6
    sys.exit("no GCS")


def growth_mb(actor):
    ray.get([actor.call.remote() for _ in range(BATCH)])
    before_mb = gcs_mb()
    for _ in range(CALLS // BATCH):
        ray.get([actor.call.remote() for _ in range(BATCH)])
    return gcs_mb() - before_mb


ray.init(f"127.0.0.1:{sys.argv[1]}", log_to_driver=False, logging_level="ERROR")
without_mb = growth_mb(Empty.options(enable_task_events=False).remote())
print(f"{CALLS} calls without task events: {without_mb:+.1f} MB")
default_mb = growth_mb(Empty.remote())
print(f"{CALLS} calls by default: {default_mb:+.1f} MB, {default_mb / CALLS * 1e3:.1f} KB per call")
if not (default_mb > 10 and without_mb < default_mb / 4):
    sys.exit("the behaviour has changed")
PYTHON
"$work/venv/bin/python" "$work/observe.py" "$port" "$work/ray"
