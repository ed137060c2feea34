#!/bin/sh
# Ray Serve starts this file as its HAProxy (RAY_SERVE_HAPROXY_BINARY_PATH); see haproxy.py.
exec "${TRADESERVE_PYTHON:?expected the path of Python; set it with: eval \"\$(modelctl env)\"}" \
    -I "$(dirname "$0")/haproxy.py" "$@"
