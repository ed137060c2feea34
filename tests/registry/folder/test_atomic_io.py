"""File operations that are seen whole or not at all."""

import hashlib

import pytest

from registry.folder import atomic_io


def test_a_copy_reports_the_digest_of_what_it_wrote(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * (atomic_io.CHUNK_BYTES + 1))
    digest = atomic_io.copy_file(source, tmp_path / "target")
    content = (tmp_path / "target").read_bytes()
    assert content == source.read_bytes()
    assert digest == hashlib.sha256(content).hexdigest() == atomic_io.sha256_of(source)


def test_a_copy_never_replaces_a_file(tmp_path):
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        atomic_io.copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"old"


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    target = tmp_path / "file"
    atomic_io.write_file(target, b"old")
    atomic_io.write_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    """A folder in the target's place makes the last step fail."""
    (tmp_path / "file" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"irectory"):
        atomic_io.write_file(tmp_path / "file", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_never_published_over_a_filled_one(tmp_path):
    for name in ("filled", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        atomic_io.publish_folder(tmp_path / "filled", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "target"


def test_a_link_is_moved_in_one_step(tmp_path):
    link = tmp_path / "production"
    atomic_io.point_link(link, "v1.0.0")
    atomic_io.point_link(link, "v1.1.0")
    assert str(link.readlink()) == "v1.1.0"
    atomic_io.remove_link(link)
    atomic_io.remove_link(link)
    assert list(tmp_path.iterdir()) == []
