"""Our log lines in Serve's own log of a replica, with their level."""

import logging

SERVE_LOGGER = "ray.serve"
"""The logger to which Serve attaches a replica's log file."""


def log_through_serve() -> None:
    """Send what serve_app and registry log in this process to the replica's log."""
    for name in ("serve_app", "registry"):
        logging.getLogger(name).parent = logging.getLogger(SERVE_LOGGER)
