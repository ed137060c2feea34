#!/usr/bin/env bash
# After a failed update, Serve replaces no replica that dies, so that the deployment ends with none.
#
# Versions   ray[serve] 2.60.0, Python 3.11
# Behaviour  A deployment of one replica with max_surge_percent=100 is updated to a class whose
#            constructor raises. The update fails, and the old replica serves on. When that replica's
#            process is killed, as by the system when memory is short, Serve starts no other: neither
#            the old class nor the new one. Requests fail until the next deploy.
# Expected   The replica of the last version that worked is replaced, as without the failed update.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d /tmp/f-XXXX)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet "ray[serve]==2.60.0"
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_TMPDIR="$work"
cat >"$work/observe.py" <<'PYTHON'
import os
import signal
import sys
import time

import ray
from ray import serve

WAIT_S = 40


class Works:
    def __call__(self):
        return os.getpid()


class Raises:
    def __init__(self):
        raise RuntimeError("it does not start")

    def __call__(self):
        return 0


def deploy(cls):
    deployment = serve.deployment(
        name="Model", max_surge_percent=100, health_check_period_s=1, ray_actor_options={"num_cpus": 0}
    )(cls)
    serve.run_many(
        [serve.RunTarget(deployment.bind(), name="app", route_prefix=None)],
        wait_for_applications_running=False,
    )


def status():
    application = serve.status().applications["app"]
    return application.status.value, dict(application.deployments["Model"].replica_states)


def wait_for(expected):
    deadline_s = time.monotonic() + 120
    while status()[0] != expected:
        assert time.monotonic() < deadline_s, status()
        time.sleep(0.5)


ray.init(num_cpus=2, include_dashboard=False)
serve.start(http_options={"port": int(sys.argv[1])})
deploy(Works)
wait_for("RUNNING")
handle = serve.get_app_handle("app")
pid = handle.remote().result(timeout_s=30)
deploy(Raises)
wait_for("DEPLOY_FAILED")
print("after the failed update:", *status())
assert handle.remote().result(timeout_s=30) == pid, "the old replica serves"
os.kill(pid, signal.SIGKILL)
time.sleep(WAIT_S)
print(f"{WAIT_S} s after the old replica was killed:", *status())
is_gone = "RUNNING" not in status()[1]
serve.shutdown()
ray.shutdown()
sys.exit(0 if is_gone else 1)
PYTHON
port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$work" && "$work/venv/bin/python" observe.py "$port" 2>"$work/observe.log" || { tail -20 "$work/observe.log"; exit 1; }
