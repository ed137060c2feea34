"""Logging of the deployments: log lines go to the replica's log file of Serve."""

import logging

QUIET = {"enable_access_log": False}
"""Serve's logging settings: no line per request, which would amount to gigabytes per day. Metrics
count the requests; errors and predictions are recorded separately."""

SERVE_LOGGER = "ray.serve"
"""The logger to which Serve attaches the replica's log file."""


def log_through_serve() -> None:
    """Send the log lines of serve_app and registry in this process to the replica's log file."""
    for name in ("serve_app", "registry"):
        logging.getLogger(name).parent = logging.getLogger(SERVE_LOGGER)
