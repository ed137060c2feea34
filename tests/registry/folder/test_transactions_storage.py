"""A full disk or a read-only folder raises StorageError and changes nothing.

The file systems are real, mounted in a separate mount namespace.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registry import ModelStage, errors
from testkit.paths import ROOT
from tests.registry.crash_harness import open_folder
from tests.registry.reference_model import (
    NAME,
    Operation,
    ReferenceModel,
    apply,
    assert_same,
    snapshot,
    write_sources,
)

pytestmark = pytest.mark.slow

BEFORE = [
    ["register", "1.0.0", "a"],
    ["register", "1.1.0", "b"],
    ["stage", "1.0.0", "Production"],
    ["stage", "1.1.0", "Production"],
    ["register", "1.2.0", "b"],
    ["stage", "1.2.0", "Staging"],
]
CHANGES = [
    ["register", "1.3.0", "a"],
    ["stage", "1.0.0", "Production"],
    ["stage", "1.2.0", "Production"],
    ["stage", "1.0.0", "Staging"],
    ["stage", "1.2.0", "None"],
    ["rollback"],
    ["retire", "1.2.0"],
    ["delete", "1.0.0"],
    ["update_metrics", "1.1.0", {"accuracy": 0.5}],
]
PAGES = 24
"""The maximum space for a change; it is sufficient for each of them."""


@pytest.fixture
def in_namespace(tmp_path):
    """Return a function that runs one of this module's functions where it may mount file systems.

    It returns what the function prints.
    """
    unshare = ["unshare", "--map-root-user", "--mount"]
    mountable = ["sh", "-c", f"mount -t tmpfs none {tmp_path}"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*unshare, *mountable], check=False).returncode
    ):
        pytest.skip("the kernel does not let this user mount in a namespace")

    def run(function, *arguments):
        code = f"from {__name__} import {function.__name__} as run; run(*{arguments!r})"
        command = [*unshare, sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    return run


def test_full_disk(in_namespace, tmp_path):
    """With 0, 1, 2, … free pages, a change is rejected without a trace or applied completely."""
    done = in_namespace(fill_the_disk, str(tmp_path))
    for operation in CHANGES:
        outcomes = done[json.dumps(operation)]
        assert outcomes[0] == "rejected"
        assert outcomes[-1] == "applied"
        assert outcomes == sorted(outcomes, reverse=True), operation


def test_read_only_folder(in_namespace, tmp_path):
    """On a read-only mount every change is rejected, and reading still works."""
    done = in_namespace(make_read_only, str(tmp_path))
    assert done == {json.dumps(operation): "rejected" for operation in CHANGES}


def test_file_in_place_of_root(tmp_path):
    """A file in the place of the registry's folder raises StorageError and is kept."""
    sources = write_sources(tmp_path / "sources")
    (tmp_path / "models").write_text("a file")
    with pytest.raises(errors.StorageError, match="nothing was changed"):
        apply(open_folder(tmp_path / "models"), sources, BEFORE[0])
    assert (tmp_path / "models").read_text() == "a file"


def fill_the_disk(folder: str) -> None:
    """Apply every change with every number of free pages, on a disk of 64."""
    disk = Path(folder) / "disk"
    disk.mkdir()
    page_bytes = 4096
    sources = write_sources(Path(folder) / "sources")
    outcomes: dict[str, list[str]] = {json.dumps(operation): [] for operation in CHANGES}
    for pages in range(PAGES):
        for operation in CHANGES:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={64 * page_bytes}", "none", str(disk)]
            subprocess.run(mount, check=True)
            model = _prepare(disk / "models", sources)
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(page_bytes))
                except OSError:
                    pass  # full
                file.truncate(file.tell() - pages * page_bytes)
            outcomes[json.dumps(operation)].append(
                _attempt(disk / "models", sources, operation, model)
            )
            ballast.unlink()
            _assert_usable(disk / "models", sources, model)
            subprocess.run(["umount", str(disk)], check=True)
    print(json.dumps(outcomes))


def make_read_only(folder: str) -> None:
    """Apply every change on a read-only mount."""
    root = Path(folder) / "models"
    sources = write_sources(Path(folder) / "sources")
    model = _prepare(root, sources)
    subprocess.run(["mount", "--bind", str(root), str(root)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True)
    outcomes = {
        json.dumps(operation): _attempt(root, sources, operation, model) for operation in CHANGES
    }
    assert_same(open_folder(root).reader, model)
    print(json.dumps(outcomes))


def _prepare(root: Path, sources: Path) -> ReferenceModel:
    model = ReferenceModel()
    for operation in BEFORE:
        apply(open_folder(root), sources, operation)
        model.apply(operation)
    return model


def _attempt(root: Path, sources: Path, operation: Operation, model: ReferenceModel) -> str:
    """Return whether the change was applied or rejected; the disk must agree with the result."""
    before = snapshot(root)
    rejected = None
    try:
        apply(open_folder(root), sources, operation)
        model.apply(operation)
    except errors.StorageError as error:
        rejected = str(error)
    assert_same(open_folder(root).reader, model)
    if rejected is None:
        return "applied"
    assert "nothing was changed" in rejected
    assert snapshot(root) == before, (operation, rejected)
    return "rejected"


def _assert_usable(root: Path, sources: Path, model: ReferenceModel) -> None:
    """With free space the registry accepts changes again."""
    operation = ["stage", "1.1.0", ModelStage.PRODUCTION]
    for change in (["register", "2.0.0", "b"], ["stage", "2.0.0", "Production"], operation):
        apply(open_folder(root), sources, change)
        model.apply(change)
    assert_same(open_folder(root).reader, model)
    assert len(open_folder(root).reader.history(NAME)) == len(model.lines)
