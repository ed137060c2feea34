"""A registry of 2,000 versions answers rightly and reads no more files than the answer takes."""

import sys
from collections import Counter

import pytest

from registry import ModelStage
from registry.folder.reader import RegistryReader
from registry.records import check_version
from testkit.models import metadata
from tests.registry.forker import open_writer

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
    """Written as the registry lays it out; registering one by one would take seconds of fsync."""
    root = tmp_path_factory.mktemp("large") / "models"
    for name in MODELS:
        for number in NUMBERS:
            folder = root / name / f"v{check_version(number)}"
            folder.mkdir(parents=True)
            (folder / "metadata.json").write_text(
                metadata(name=name, version=number, artifacts={}).model_dump_json()
            )
        open_writer(root).set_stage(name, "5.50.0", ModelStage.PRODUCTION)
    return root


@pytest.fixture
def files_read(root):
    """Return how many files below the root the call opens."""

    def count(call):
        _READS.clear()
        _WATCHED.append(str(root))
        try:
            call()
        finally:
            _WATCHED.clear()
        return _READS["files"]

    return count


def test_all_are_listed_in_order_with_one_production_version_a_model(root):
    infos = RegistryReader(root).list_versions()
    assert [(info.metadata.name, info.metadata.version) for info in infos] == [
        (name, number) for name in MODELS for number in NUMBERS
    ]
    produced = [info for info in infos if info.metadata.stage is ModelStage.PRODUCTION]
    assert [info.metadata.name for info in produced] == [*MODELS]


def test_listing_reads_every_file_once_and_then_only_what_changed(root, files_read):
    reader = RegistryReader(root)
    assert files_read(reader.list_versions) == len(MODELS) * len(NUMBERS)
    assert files_read(reader.list_versions) == 0
    open_writer(root).update_metrics("alpha", "1.1.0", {"accuracy": 0.5})
    assert files_read(reader.list_versions) == 1
    (changed,) = [info for info in reader.list_versions() if info.metadata.metrics]
    assert changed.metadata.version == "1.1.0"


@pytest.mark.parametrize(
    "wanted", [{}, {"version": "7.7.0"}, {"stage": ModelStage.PRODUCTION}], ids=str
)
def test_one_version_is_found_by_reading_one_file(root, files_read, wanted):
    reader = RegistryReader(root)
    assert files_read(lambda: reader.get("alpha", **wanted)) == 1
    assert files_read(lambda: reader.get("alpha", **wanted)) == 0


def test_the_latest_of_a_thousand_is_found_by_reading_one_file(root, files_read):
    (root / "alpha" / "production").rename(root / "alpha" / "kept")
    try:
        reader = RegistryReader(root)
        assert files_read(lambda: reader.get("alpha")) == 1
        assert reader.get("alpha").metadata.version == "9.99.0"
    finally:
        (root / "alpha" / "kept").rename(root / "alpha" / "production")
