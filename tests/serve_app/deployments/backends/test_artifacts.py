"""A node's cache of artifacts, and the artifacts that a replica fetches through it."""

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
    """The handle of a registry actor that returns the same bytes and records its calls."""

    def __init__(self, content=CONTENT):
        self.read_artifact = self
        self.content, self.calls = content, []

    async def remote(self, *artifact):
        self.calls.append(artifact)
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


async def test_an_artifact_is_fetched_once_per_node(cache, folder):
    registry = Registry()
    for _ in range(2):
        assert await fetch(registry, VERSION, "model.onnx", cache) == CONTENT
    assert registry.calls == [("toy", "1.0.0", "model.onnx")]
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
    assert len(registry.calls) == 1
    assert "was modified after registration" in warnings()[0]
    assert (folder / SHA256).read_bytes() == CONTENT


async def test_a_link_is_replaced(cache, folder, tmp_path, warnings):
    """Even one to the right content: its target may change between two reads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(CONTENT)
    folder.mkdir(mode=0o700)
    (folder / SHA256).symlink_to(elsewhere)
    registry = Registry()
    assert await fetch(registry, VERSION, "model.onnx", cache) == CONTENT
    assert len(registry.calls) == 1
    assert "is a link" in warnings()[0]
    assert not (folder / SHA256).is_symlink()
    assert elsewhere.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["link", "open to all", "file"])
async def test_a_foreign_folder_is_not_used(cache, folder, tmp_path, warnings, kind):
    """A replica starts without a folder that belongs to its user: the cache only saves time."""
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
    assert len(registry.calls) == 2
    assert len(warnings()) == 4
    assert not list(tmp_path.glob("*/*"))


async def test_wrong_content_is_not_cached(cache, folder):
    with pytest.raises(CorruptArtifactError, match=r"toy/v1\.0\.0/model\.onnx was modified"):
        await fetch(Registry(b"other"), VERSION, "model.onnx", cache)
    assert not folder.exists()


async def test_an_unknown_artifact_is_rejected(cache):
    with pytest.raises(MissingArtifactError, match=r"artifacts: model\.onnx"):
        await fetch(Registry(), VERSION, "model.pt", cache)


def test_the_least_recently_used_file_is_removed(folder):
    """Reading a file counts as use."""
    cache = ArtifactCache(folder, limit_bytes=25)
    contents = [bytes([number]) * 10 for number in range(3)]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    for time_s, (name, content) in enumerate(zip(names[:2], contents, strict=False)):
        cache.put(name, content)
        os.utime(folder / name, (time_s, time_s))
    assert cache.read(names[0]) == contents[0]  # used last, though older
    cache.put(names[2], contents[2])
    assert [cache.read(name) for name in names] == [contents[0], None, contents[2]]


def test_a_file_over_the_limit_is_cached_alone(folder):
    cache = ArtifactCache(folder, limit_bytes=5)
    cache.put(SHA256, CONTENT)
    assert cache.read(SHA256) == CONTENT
    other = hashlib.sha256(b"others").hexdigest()
    cache.put(other, b"others")
    assert [path.name for path in folder.iterdir()] == [other]


def test_an_empty_node_cache_has_no_folder():
    assert node_cache().read("0" * 64) is None
