"""Files that release 0.1.0 (commit 75d379b) wrote, copied so that a test can change them.

`data/generate.py`, executed with that release, wrote the files in `data/`: a registry folder, which
contains the serving state of the application `trading-models`; the SQL dump of a database of
experiments; and for each of the three a JSON file with the values that the old code read from it.
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
    """Return the values that the old code read, from the JSON file named after the test module."""
    name = request.path.stem.removeprefix("test_")
    return json.loads((DATA / f"{name}.json").read_text())
