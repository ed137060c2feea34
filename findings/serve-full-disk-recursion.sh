#!/usr/bin/env bash
# In a replica of Ray Serve, a log line that cannot be written may raise RecursionError in the caller.
#
# Versions   ray 2.60.0, Python 3.11
# Behaviour  With RAY_SERVE_LOG_TO_STDERR=0, which RAY_SERVE_THROUGHPUT_OPTIMIZED=1 implies, Serve
#            replaces sys.stderr of a replica by a stream that writes to Serve's logger. When the log
#            file cannot be written, as on a full disk, Python's logging reports that on sys.stderr;
#            the report is a log line that cannot be written either, and so on. The line of the user
#            raises RecursionError. Here the log file is /dev/full.
# Expected   The line is lost, as with Python's own standard error, and the code that logs continues.
# Observed   by default: RecursionError; with logging.raiseExceptions = False: no error
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d /tmp/ts-XXXX)
export SERVE_FULL_DISK_FINDING=$work
cleanup() {
    for environ in /proc/[0-9]*/environ; do
        pid=${environ#/proc/}; pid=${pid%/environ}
        if [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] \
            && grep -qsF "SERVE_FULL_DISK_FINDING=$work" "$environ"; then
            kill -9 "$pid" 2>/dev/null || true
        fi
    done
    rm -rf "$work"
}
trap cleanup EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet "ray[serve]==2.60.0"
cat >"$work/observe.py" <<'PYTHON'
import logging
import os
import sys

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
               "RAY_SERVE_LOG_TO_STDERR": "0"}
import ray
from ray import serve


@serve.deployment
class Logs:
    def __call__(self, raises: bool) -> str:
        logging.raiseExceptions = raises
        logger = logging.getLogger("ray.serve")
        (log,) = [handler.target.stream for handler in logger.handlers if hasattr(handler, "target")]
        with open("/dev/full", "w") as full:
            os.dup2(full.fileno(), log.fileno())
        try:
            logger.error("a line")
        except RecursionError:
            return "RecursionError"
        return "no error"


ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
         logging_level="ERROR", _temp_dir=f"{sys.argv[1]}/ray")
serve.start(proxy_location="Disabled")
handle = serve.run(Logs.bind(), route_prefix=None)
default = handle.remote(True).result()
quiet = handle.remote(False).result()
print(f"by default: {default}; with logging.raiseExceptions = False: {quiet}", flush=True)
os._exit((default, quiet) != ("RecursionError", "no error"))
PYTHON
"$work/venv/bin/pip" list 2>/dev/null | grep -E "^ray"
cd "$work"
"$work/venv/bin/python" observe.py "$work" 2>/dev/null
