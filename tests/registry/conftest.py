"""What several of the registry's tests need."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.registry.forker import Forker


@pytest.fixture(scope="session")
def forker():
    """Runs tasks in processes of their own; see tests.registry.forker."""
    with Forker() as forker:
        yield forker


@pytest.fixture
def memory_path():
    """A new folder in memory where there is one: fsync costs nothing there.

    A killed process loses nothing that it gave to the kernel, on no file system; so the disk adds
    time to such a test and no proof.
    """
    shared = Path("/dev/shm")
    base = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as folder:
        yield Path(folder)
