"""Our log lines in Serve's own log of a replica, with their level."""

import logging

QUIET = {"enable_access_log": False}
"""Serve's logging settings of our deployments: no line a request, which would be gigabytes a day.
Metrics count what is answered; errors and predictions have places of their own."""

SERVE_LOGGER = "ray.serve"
"""The logger to which Serve attaches a replica's log file."""


def log_through_serve() -> None:
    """Send what serve_app and registry log in this process to the replica's log."""
    for name in ("serve_app", "registry"):
        logging.getLogger(name).parent = logging.getLogger(SERVE_LOGGER)
