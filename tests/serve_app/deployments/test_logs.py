"""What a replica writes to its log file."""

import logging
import sys
from contextlib import suppress

import pytest
from ray.serve._private.logging_utils import StreamToLogger

from serve_app.deployments.logs import ExpectedErrors, drop_unwritable_lines
from serve_app.errors import NoSuchExperimentError


@pytest.fixture
def logger():
    """A logger with the filter, as Serve's in a replica."""
    logger = logging.getLogger("test_logs")
    logger.addFilter(expected := ExpectedErrors())
    yield logger
    logger.removeFilter(expected)


def failed(logger, caplog, error):
    """Log a failed call as Serve does; return the record and its text."""
    try:
        raise error
    except type(error):
        logger.exception("Request failed.")
    return caplog.records[-1], caplog.text


def test_serving_error(logger, caplog):
    """An error that the caller handles is one warning, without a traceback."""
    record, text = failed(logger, caplog, NoSuchExperimentError("a", "no experiment 'a'"))
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("Request failed. no experiment 'a'")
    assert "Traceback" not in text


def test_unexpected_error(logger, caplog):
    """Any other error keeps its level and its traceback."""
    record, text = failed(logger, caplog, KeyError("a"))
    assert record.levelno == logging.ERROR
    assert "Traceback" in text


@pytest.fixture
def replica_on_full_disk(logger, monkeypatch):
    """A logger whose lines cannot be written."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        handler = logging.StreamHandler(full)
        logger.addHandler(handler)
        monkeypatch.setattr(logger, "propagate", False)
        logger.setLevel(logging.INFO)
        monkeypatch.setattr(logging, "raiseExceptions", True)
        yield logger
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        with suppress(OSError):
            full.close()


def test_full_disk(replica_on_full_disk, monkeypatch):
    """A line that cannot be written is dropped; it does not end the task that logs."""
    redirected = StreamToLogger(replica_on_full_disk, logging.INFO, sys.stderr)
    monkeypatch.setattr(sys, "stderr", redirected)  # as Serve does in a replica
    with pytest.raises(RecursionError):
        replica_on_full_disk.warning("by default")
    drop_unwritable_lines()
    replica_on_full_disk.warning("dropped")
