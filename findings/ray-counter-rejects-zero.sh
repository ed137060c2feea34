#!/usr/bin/env bash
# Ray's counter raises an error when it is incremented by 0, which Prometheus' own client accepts.
#
# Versions   ray 2.60.0, prometheus-client 0.26.0, Python 3.11
# Behaviour  ray.util.metrics.Counter.inc(0) raises ValueError. A batch of which nothing was rejected
#            has a count of 0 rejections: code that counts every result of a batch fails on the first
#            batch without one, and whatever it counts after that line is missing from the metrics.
# Expected   prometheus_client's Counter.inc(0) changes nothing and raises nothing; only negative
#            amounts are errors in the exposition format's terms.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet \
    "ray[default]==2.60.0" "prometheus-client==0.26.0"
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" - <<'PYTHON'
import sys

import prometheus_client
from ray.util.metrics import Counter

peer = prometheus_client.Counter("peer", "Counted by Prometheus' client.")
peer.inc(0)
print("prometheus_client: inc(0) accepted")
counter = Counter("counted", description="Counted by Ray.")
try:
    counter.inc(0)
except ValueError as error:
    print(f"ray: ValueError: {error}")
else:
    sys.exit("the behaviour has changed: Ray's counter accepts 0")
PYTHON
