"""The HTTP options with which the cluster's Serve was started."""

from typing import Any

import ray
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import HTTPOptions


def http_host() -> str | None:
    """Return the value of `http_options.host`; None stands for every interface.

    The first deploy decides it; a later one with another value changes nothing.
    """
    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, SERVE_NAMESPACE)
    options: HTTPOptions = ray.get(controller.get_http_config.remote())
    return options.host
