"""The HTTP options with which the cluster's Serve was started."""

import os
from typing import Any

import ray
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import HTTPOptions

HOST_VARIABLE = "TRADESERVE_HTTP_HOST"
"""The address on which HAProxy listens, if it is one of IPv6; see `serve_app.launch.haproxy`."""


def http_host() -> str | None:
    """Return the value of `http_options.host`; None stands for every interface.

    The first deploy decides it; a later one with another value changes nothing. The environment
    takes precedence: of an IPv6 address Serve itself receives the IPv4 counterpart.
    """
    if host := os.environ.get(HOST_VARIABLE):
        return host
    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, SERVE_NAMESPACE)
    options: HTTPOptions = ray.get(controller.get_http_config.remote())
    return options.host
