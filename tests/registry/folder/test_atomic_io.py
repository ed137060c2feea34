"""Atomic file operations."""

import hashlib

import pytest

from registry.folder import atomic_io


def test_copy_returns_digest(tmp_path):
    """A copy returns the digest of the written content."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * (atomic_io.CHUNK_BYTES + 1))
    digest = atomic_io.copy_file(source, tmp_path / "target")
    content = (tmp_path / "target").read_bytes()
    assert content == source.read_bytes()
    assert digest == hashlib.sha256(content).hexdigest() == atomic_io.sha256_of(source)


def test_copy_does_not_replace(tmp_path):
    """A copy does not replace a file."""
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        atomic_io.copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"old"


def test_write_replaces_file(tmp_path):
    """A write replaces the file and leaves no temporary file."""
    target = tmp_path / "file"
    atomic_io.write_file(target, b"old")
    atomic_io.write_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_failed_write_keeps_target(tmp_path):
    """A failed write, here to a folder, keeps the target and leaves no temporary file."""
    (tmp_path / "file" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"irectory"):
        atomic_io.write_file(tmp_path / "file", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_publish_does_not_replace(tmp_path):
    """A folder is not published over one that is not empty."""
    for name in ("filled", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        atomic_io.publish_folder(tmp_path / "filled", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "target"


def test_link_is_moved_and_removed(tmp_path):
    """A link is moved atomically, and removing it is idempotent."""
    link = tmp_path / "production"
    atomic_io.point_link(link, "v1.0.0", b"text")
    atomic_io.point_link(link, "v1.1.0", b"text")
    assert str(link.readlink()) == "v1.1.0"
    atomic_io.remove_link(link)
    atomic_io.remove_link(link)
    assert list(tmp_path.iterdir()) == []
