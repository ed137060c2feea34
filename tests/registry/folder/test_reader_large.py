"""With 2,000 versions, a reader returns the right versions and reads no more files than needed."""

import sys
from collections import Counter

import pytest

from registry import ModelStage
from registry.folder.reader import FolderReader
from registry.records import check_version
from testkit.models import metadata
from tests.registry.crash_harness import open_folder

MODELS = ("alpha", "beta")
NUMBERS = [f"{major}.{minor}.0" for major in range(10) for minor in range(100)]
_READS: Counter[str] = Counter()
_WATCHED = []


def _count(event, arguments):
    if _WATCHED and event == "open" and str(arguments[0]).startswith(_WATCHED[0]):
        _READS["files"] += 1


sys.addaudithook(_count)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write a registry's files directly; registering each version would take seconds of fsync."""
    root = tmp_path_factory.mktemp("large") / "models"
    for name in MODELS:
        for number in NUMBERS:
            folder = root / name / f"v{check_version(number)}"
            folder.mkdir(parents=True)
            (folder / "metadata.json").write_text(
                metadata(name=name, version=number, artifacts={}).model_dump_json()
            )
        open_folder(root).stages.set_stage(name, "5.50.0", ModelStage.PRODUCTION)
    return root


@pytest.fixture
def files_read(root):
    """Return a function that counts the files below the root that a call opens."""

    def count(call):
        _READS.clear()
        _WATCHED.append(str(root))
        try:
            call()
        finally:
            _WATCHED.clear()
        return _READS["files"]

    return count


def test_list_is_sorted(root):
    """All versions are listed in order, with one production version per model."""
    infos = FolderReader(root).list_versions()
    assert [(info.metadata.name, info.metadata.version) for info in infos] == [
        (name, number) for name in MODELS for number in NUMBERS
    ]
    production = [info for info in infos if info.metadata.stage is ModelStage.PRODUCTION]
    assert [info.metadata.name for info in production] == [*MODELS]


def test_repeated_list_reads_changes_only(root, files_read):
    """The first list reads every file once; later lists read only modified files."""
    reader = FolderReader(root)
    assert files_read(reader.list_versions) == len(MODELS) * len(NUMBERS)
    assert files_read(reader.list_versions) == 0
    open_folder(root).versions.update_metrics("alpha", "1.1.0", {"accuracy": 0.5})
    assert files_read(reader.list_versions) == 1
    (changed,) = [info for info in reader.list_versions() if info.metadata.metrics]
    assert changed.metadata.version == "1.1.0"


@pytest.mark.parametrize(
    "wanted", [{}, {"version": "7.7.0"}, {"stage": ModelStage.PRODUCTION}], ids=str
)
def test_get_reads_one_file(root, files_read, wanted):
    """Finding one version reads one file, and none the second time."""
    reader = FolderReader(root)
    assert files_read(lambda: reader.get("alpha", **wanted)) == 1
    assert files_read(lambda: reader.get("alpha", **wanted)) == 0


def test_get_latest_reads_one_file(root, files_read):
    """Finding the latest of a thousand versions reads one file."""
    (root / "alpha" / "production").rename(root / "alpha" / "kept")
    try:
        reader = FolderReader(root)
        assert files_read(lambda: reader.get("alpha")) == 1
        assert reader.get("alpha").metadata.version == "9.99.0"
    finally:
        (root / "alpha" / "kept").rename(root / "alpha" / "production")
