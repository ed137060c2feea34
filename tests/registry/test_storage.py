"""A full disk or a read-only folder is a StorageError, and leaves everything as it was.

The file systems are real: mounted in a mount namespace of this test's own.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registry import ModelStage, errors
from testkit.paths import ROOT
from tests.registry.forker import open_writer
from tests.registry.model import (
    NAME,
    Operation,
    RegistryModel,
    apply,
    assert_same,
    snapshot,
    write_sources,
)

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
"""How much room the changes are given at most; the last of them have enough."""


@pytest.fixture
def in_namespace(tmp_path):
    """Run one of this module's functions where it may mount, and return what it prints."""
    unshare = ["unshare", "--map-root-user", "--mount"]
    mountable = ["sh", "-c", f"mount -t tmpfs none {tmp_path}"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*unshare, *mountable], check=False).returncode
    ):
        pytest.skip("this kernel lets no one mount in a namespace of their own")

    def run(function, *arguments):
        code = f"from {__name__} import {function.__name__} as run; run(*{arguments!r})"
        command = [*unshare, sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    return run


def test_a_full_disk_changes_nothing_or_the_change_is_whole(in_namespace, tmp_path):
    """With no room, one page, two pages, … left: refused without a trace, or done for good."""
    done = in_namespace(fill_the_disk, str(tmp_path))
    for operation in CHANGES:
        outcomes = done[json.dumps(operation)]
        assert outcomes[0] == "refused"
        assert outcomes[-1] == "done"
        assert outcomes == sorted(outcomes, reverse=True), operation


def test_a_read_only_folder_changes_nothing_and_can_be_read(in_namespace, tmp_path):
    done = in_namespace(make_read_only, str(tmp_path))
    assert done == {json.dumps(operation): "refused" for operation in CHANGES}


def test_a_file_in_the_place_of_the_folder_is_a_storage_error(tmp_path):
    sources = write_sources(tmp_path / "sources")
    (tmp_path / "models").write_text("no folder")
    with pytest.raises(errors.StorageError, match="nothing was changed"):
        apply(open_writer(tmp_path / "models"), sources, BEFORE[0])
    assert (tmp_path / "models").read_text() == "no folder"


def fill_the_disk(folder: str) -> None:
    """Try every change with every number of free pages, on a disk of 64."""
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
    """Try every change on a read-only mount."""
    root = Path(folder) / "models"
    sources = write_sources(Path(folder) / "sources")
    model = _prepare(root, sources)
    subprocess.run(["mount", "--bind", str(root), str(root)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True)
    outcomes = {
        json.dumps(operation): _attempt(root, sources, operation, model) for operation in CHANGES
    }
    assert_same(open_writer(root), model)
    print(json.dumps(outcomes))


def _prepare(root: Path, sources: Path) -> RegistryModel:
    model = RegistryModel()
    for operation in BEFORE:
        apply(open_writer(root), sources, operation)
        model.apply(operation)
    return model


def _attempt(root: Path, sources: Path, operation: Operation, model: RegistryModel) -> str:
    """Return whether the change was done or refused; what is on the disk must agree."""
    before = snapshot(root)
    refused = None
    try:
        apply(open_writer(root), sources, operation)
        model.apply(operation)
    except errors.StorageError as error:
        refused = str(error)
    assert_same(open_writer(root), model)
    if refused is None:
        return "done"
    assert "nothing was changed" in refused
    assert snapshot(root) == before, (operation, refused)
    return "refused"


def _assert_usable(root: Path, sources: Path, model: RegistryModel) -> None:
    """With room again the registry goes on."""
    operation = ["stage", "1.1.0", ModelStage.PRODUCTION]
    for each in (["register", "2.0.0", "b"], ["stage", "2.0.0", "Production"], operation):
        apply(open_writer(root), sources, each)
        model.apply(each)
    assert_same(open_writer(root), model)
    assert len(open_writer(root).history(NAME)) == len(model.lines)
