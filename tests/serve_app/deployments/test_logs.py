"""What a replica writes to its log file."""

import logging

import pytest

from serve_app.deployments.logs import ExpectedErrors
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
