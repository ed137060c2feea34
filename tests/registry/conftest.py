"""Fixtures that several of the registry's tests share."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.registry.crash_harness import ForkServer


@pytest.fixture(scope="session")
def fork_server():
    """Run tasks in separate processes; see tests.registry.crash_harness."""
    with ForkServer() as server:
        yield server


@pytest.fixture
def memory_path():
    """Return a new folder in memory if possible, where fsync costs nothing.

    A killed process loses nothing that it has passed to the kernel, on any file system. A disk
    would add time to these tests and verify nothing more.
    """
    shared = Path("/dev/shm")
    base = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as folder:
        yield Path(folder)
