#!/usr/bin/env bash
# A failed update of a deployment of one replica leaves none, and the status says that it keeps running.
#
# Versions   ray[serve] 2.60.0, Python 3.11
# Behaviour  A deployment of one replica, with the default max_surge_percent of 0, is updated to a
#            class whose constructor raises. Serve stops the only replica before it starts the new
#            one. The update fails, no replica is left, and none is started again, while the status
#            says that "replicas of the previous version keep running until a new deploy".
# Expected   The last replica that works is kept, or the status says that there is none.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d /tmp/f-XXXX)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet "ray[serve]==2.60.0"
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_TMPDIR="$work"
cat >"$work/observe.py" <<'PYTHON'
import sys
import time

import ray
from ray import serve

class Works:
    def __call__(self):
        return 1


class Raises:
    def __init__(self):
        raise RuntimeError("it does not start")

    def __call__(self):
        return 0


def deploy(cls):
    deployment = serve.deployment(
        name="Model", health_check_period_s=1, ray_actor_options={"num_cpus": 0}
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
assert serve.get_app_handle("app").remote().result(timeout_s=30) == 1
deploy(Raises)
wait_for("DEPLOY_FAILED")
time.sleep(10)
message = serve.status().applications["app"].deployments["Model"].message
claim = "replicas of the previous version keep running until a new deploy"
print("after the failed update:", *status(), "claims:", claim in " ".join(message.split()))
is_gone = "RUNNING" not in status()[1] and claim in " ".join(message.split())
serve.shutdown()
ray.shutdown()
sys.exit(0 if is_gone else 1)
PYTHON
port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$work" && "$work/venv/bin/python" observe.py "$port" 2>"$work/observe.log" || { tail -20 "$work/observe.log"; exit 1; }
