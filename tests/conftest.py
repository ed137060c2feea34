"""The environment of all tests, and how they are spread over several workers."""

import os
import shutil
import tempfile

from testkit.scheduler import ClusterTestsByModule


def pytest_xdist_make_scheduler(config, log):
    """Return the scheduler for a run in several workers."""
    return ClusterTestsByModule(config, log)


def pytest_configure(config):
    """Give the tests a separate home for local tokens, which servers create and clients send."""
    folder = tempfile.mkdtemp(prefix="ts-config-")
    os.environ["XDG_CONFIG_HOME"] = folder
    os.environ.pop("TRADESERVE_TOKEN", None)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
