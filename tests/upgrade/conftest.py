"""What release 0.1.0 (commit 75d379b) left on the disk, copied to where a test may change it.

`data/generate.py`, run with that release, wrote the files of `data/`: a registry folder, the state
of the server `trading-models` inside it, the SQL dump of its experiments' database, and beside each
of the three a JSON file with what the old code read from it.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture
def registry_folder(tmp_path):
    return shutil.copytree(DATA / "registry", tmp_path / "registry", symlinks=True)


@pytest.fixture
def database_path(tmp_path):
    path = tmp_path / "experiments.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DATA / "experiments.sql").read_text())
    return path


@pytest.fixture
def old(request):
    """What the old code read, from the JSON file that is named as the test's module."""
    name = request.path.stem.removeprefix("test_")
    return json.loads((DATA / f"{name}.json").read_text())
