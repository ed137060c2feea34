"""SQLite on a real disk that fills up: what was acknowledged is kept, and everything else fails."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from serve_app.experiments.store import ExperimentStore
from serve_app.experiments.store_errors import FullStoreError
from testkit.paths import ROOT
from tests.serve_app.experiments.store.builders import (
    START,
    assert_summaries_equal_rows,
    definition,
    outcome,
    prediction,
)

pytestmark = pytest.mark.slow

PAGE_BYTES = 4096
DISK_PAGES = 400
FREE_PAGES = (0, 1, 2, 5, 13)
SENT = 400


def test_full_disk(tmp_path):
    """With any number of free pages, outcomes are stored until one fails, and nothing is lost.

    The error names the folder, its free space and the remedy. Once there is space, the same store
    continues, and so does one that opens the database again.
    """
    unshare = ["unshare", "--map-root-user", "--mount"]
    mountable = ["sh", "-c", f"mount -t tmpfs none {tmp_path}"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*unshare, *mountable], check=False).returncode
    ):
        pytest.skip("the kernel does not let this user mount in a namespace")
    code = f"from {__name__} import fill_the_disk; fill_the_disk({str(tmp_path)!r})"
    done = subprocess.run(
        [*unshare, sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    results = json.loads(done.stdout)
    assert [result["pages"] for result in results] == list(FREE_PAGES)
    for result in results:
        assert result["acknowledged"] < SENT, result
        assert f"MB are free in {tmp_path}/disk; free disk space" in result["error"]
        assert "database or disk is full" in result["error"]


def fill_the_disk(folder: str) -> None:
    """Record outcomes with every number of free pages, on a disk of its own."""
    disk = Path(folder) / "disk"
    disk.mkdir()
    results = []
    for pages in FREE_PAGES:
        size = f"size={DISK_PAGES * PAGE_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(disk)], check=True)
        results.append({"pages": pages, **_record_until_full(disk, pages)})
        subprocess.run(["umount", str(disk)], check=True)
    print(json.dumps(results))


def _record_until_full(disk: Path, pages: int) -> dict[str, object]:
    path = disk / "x.db"
    acknowledged = set()
    with ExperimentStore(f"sqlite:///{path}") as store:
        store.create_experiment(definition(), START)
        store.write_predictions([prediction(f"p{number}") for number in range(SENT)])
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(PAGE_BYTES))
            except OSError:
                pass  # full
            file.truncate(file.tell() - pages * PAGE_BYTES)
        error = None
        for number in range(SENT):
            try:
                store.record_outcomes([outcome(f"p{number}")])
            except FullStoreError as full:
                error = str(full)
                break
            acknowledged.add(f"p{number}")
        assert _outcomes(store) == acknowledged
        ballast.unlink()
        count = len(acknowledged)
        store.record_outcomes([outcome(f"p{number}") for number in range(count, count + 10)])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with ExperimentStore(f"sqlite:///{path}") as store:
        assert len(_outcomes(store)) == count + 10
        assert_summaries_equal_rows(store)
    return {"acknowledged": count, "error": error}


def _outcomes(store: ExperimentStore) -> set[str]:
    return {
        entry.prediction.prediction_id for entry in store.predictions() if entry.outcome is not None
    }
