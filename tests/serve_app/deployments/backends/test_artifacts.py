"""A node's cache of artifacts, and what a replica gets through it; no cluster needed."""

import hashlib
import logging
import os

import pytest

from registry.errors import CorruptArtifactError, MissingArtifactError
from serve_app.deployments.backends.artifacts import ArtifactCache, fetch, node_cache
from testkit.models import metadata

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
VERSION = metadata(artifacts={"model.onnx": SHA256})


class Registry:
    """A registry actor's handle that answers with the same bytes and counts how often."""

    def __init__(self, content=CONTENT):
        self.read_artifact = self
        self.content, self.asked = content, []

    async def remote(self, *wanted):
        self.asked.append(wanted)
        return self.content


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(folder):
    return ArtifactCache(folder, limit_bytes=1000)


@pytest.fixture
def warnings(caplog):
    def read():
        return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    return read


async def test_the_registry_is_asked_once_a_node(cache, folder):
    registry = Registry()
    for _ in range(2):
        assert await fetch(registry, VERSION, "model.onnx", cache) == CONTENT
    assert registry.asked == [("toy", "1.0.0", "model.onnx")]
    assert [path.name for path in folder.iterdir()] == [SHA256]


async def test_only_this_user_can_enter_the_folder(cache, folder):
    await fetch(Registry(), VERSION, "model.onnx", cache)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damaged", [b"", b"weighty", b"weights and more"])
async def test_a_damaged_file_is_reported_and_replaced(cache, folder, warnings, damaged):
    await fetch(Registry(), VERSION, "model.onnx", cache)
    (folder / SHA256).write_bytes(damaged)
    registry = Registry()
    assert await fetch(registry, VERSION, "model.onnx", cache) == CONTENT
    assert len(registry.asked) == 1
    assert "was modified after registration" in warnings()[0]
    assert (folder / SHA256).read_bytes() == CONTENT


async def test_a_link_is_not_followed_but_replaced(cache, folder, tmp_path, warnings):
    """Not even to the right content: it may be somebody else's and change between two reads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(CONTENT)
    folder.mkdir(mode=0o700)
    (folder / SHA256).symlink_to(elsewhere)
    registry = Registry()
    assert await fetch(registry, VERSION, "model.onnx", cache) == CONTENT
    assert len(registry.asked) == 1
    assert "is a link" in warnings()[0]
    assert not (folder / SHA256).is_symlink()
    assert elsewhere.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["link", "open to all", "file"])
async def test_a_folder_that_others_could_have_made_is_not_used(
    cache, folder, tmp_path, warnings, kind
):
    """The replica starts all the same: the cache only saves time."""
    if kind == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    elif kind == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777)
    registry = Registry()
    for _ in range(2):
        assert await fetch(registry, VERSION, "model.onnx", cache) == CONTENT
    assert len(registry.asked) == 2
    assert len(warnings()) == 4
    assert not list(tmp_path.glob("*/*"))


async def test_wrong_content_is_refused_and_not_kept(cache, folder):
    with pytest.raises(CorruptArtifactError, match=r"toy/v1\.0\.0/model\.onnx was modified"):
        await fetch(Registry(b"other"), VERSION, "model.onnx", cache)
    assert not folder.exists()


async def test_an_artifact_that_the_version_has_not_is_refused(cache):
    with pytest.raises(MissingArtifactError, match=r"artifacts: model\.onnx"):
        await fetch(Registry(), VERSION, "model.pt", cache)


def test_beyond_the_limit_what_was_not_used_for_longest_goes(folder):
    cache = ArtifactCache(folder, limit_bytes=25)
    contents = [bytes([each]) * 10 for each in range(3)]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    for time_s, (name, content) in enumerate(zip(names[:2], contents, strict=False)):
        cache.keep(name, content)
        os.utime(folder / name, (time_s, time_s))
    assert cache.read(names[0]) == contents[0]  # used last, though older
    cache.keep(names[2], contents[2])
    assert [cache.read(name) for name in names] == [contents[0], None, contents[2]]


def test_a_file_larger_than_the_limit_is_kept_alone(folder):
    cache = ArtifactCache(folder, limit_bytes=5)
    cache.keep(SHA256, CONTENT)
    assert cache.read(SHA256) == CONTENT
    other = hashlib.sha256(b"others").hexdigest()
    cache.keep(other, b"others")
    assert [path.name for path in folder.iterdir()] == [other]


def test_the_nodes_cache_is_no_folder_before_something_is_kept():
    assert node_cache().read("0" * 64) is None
