"""Logging of the deployments: log lines go to the replica's log file of Serve."""

import logging

from serve_app.errors import ServingError

QUIET = {"enable_access_log": False}
"""Serve's logging settings: no line per request, which would amount to gigabytes per day. Metrics
count the requests; errors and predictions are recorded separately."""

SERVE_LOGGER = "ray.serve"
"""The logger to which Serve attaches the replica's log file."""


class ExpectedErrors(logging.Filter):
    """Reduces a ServingError that Serve logs to one warning: its caller receives and handles it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Remove the traceback of a ServingError; return True."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ServingError):
            record.msg, record.args = "%s %s", (record.getMessage(), error)
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.exc_info = None
        return True


_EXPECTED_ERRORS = ExpectedErrors()


def log_through_serve() -> None:
    """Send the log lines of serve_app and registry in this process to the replica's log file.

    Serve's own line for a call that raises a ServingError has no traceback.
    """
    drop_unwritable_lines()
    logging.getLogger(SERVE_LOGGER).addFilter(_EXPECTED_ERRORS)
    for name in ("serve_app", "registry"):
        logging.getLogger(name).parent = logging.getLogger(SERVE_LOGGER)


def drop_unwritable_lines() -> None:
    """Drop a log line that cannot be written, as on a full disk, instead of raising an error.

    By default `logging` reports the failure on standard error, which Serve redirects to the same
    file: the report fails too, until the line raises a RecursionError in the code that logs.
    """
    logging.raiseExceptions = False
