"""Fixtures of the tests of a launch."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def short_folder():
    """An empty folder with a short name, since the paths of sockets are limited."""
    path = Path(tempfile.mkdtemp(prefix="ts", dir="/tmp"))
    yield path
    shutil.rmtree(path)
