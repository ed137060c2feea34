"""An archive is complete and unchanged, or nothing of it is used."""

import io
import json
import os
import tarfile

import pytest

from serve_app.backup.archive import MANIFEST, extract, writing
from serve_app.backup.errors import ArchiveError


@pytest.fixture
def source(tmp_path):
    """Two files with one inode, an empty one and a link."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a").write_bytes(bytes(range(256)) * 1000)
    os.link(folder / "a", folder / "b")
    (folder / "empty").touch()
    (folder / "link").symlink_to("a")
    (folder / "private").write_text("secret")
    (folder / "private").chmod(0o600)
    return folder


@pytest.fixture
def archive(tmp_path, source):
    path = tmp_path / "backup.tar"
    with writing(path) as writer:
        for name in ("a", "b", "empty", "link", "private"):
            writer.add(f"x/{name}", source / name)
    return path


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_extracted(archive, source, target):
    """Files and links come back with their content and mode, as files of their own."""
    extract(archive, target)
    assert {path.name for path in (target / "x").iterdir()} == {
        "a",
        "b",
        "empty",
        "link",
        "private",
    }
    for name in ("a", "b", "empty", "private"):
        assert (target / "x" / name).read_bytes() == (source / name).read_bytes()
    assert (target / "x/link").readlink().name == "a"
    assert (target / "x/private").stat().st_mode & 0o777 == 0o600
    assert (target / "x/a").stat().st_nlink == 1
    assert archive.stat().st_mode & 0o777 == 0o600
    assert list(archive.parent.glob(".*")) == []


def test_existing_file_is_kept(archive):
    before = archive.read_bytes()
    with pytest.raises(FileExistsError), writing(archive):
        pass
    assert archive.read_bytes() == before


def test_failed_backup_leaves_nothing(tmp_path):
    path = tmp_path / "backup.tar"
    with pytest.raises(FileNotFoundError), writing(path) as writer:
        writer.add("x", tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def rewritten(archive, change):
    """Write the archive once more, with its members as `change` returns them."""
    members = []
    with tarfile.open(archive) as tar:
        for member in tar:
            members.append((member, tar.extractfile(member).read() if member.isfile() else b""))
    with tarfile.open(archive, "w") as tar:
        for member, content in change(members):
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def without_manifest(members):
    return members[:-1]


def changed_content(members):
    (first, content), *rest = members
    return [(first, content[:-1] + b"?"), *rest]


def changed_link(members):
    for member, _ in members:
        if member.issym():
            member.linkname = "b"
    return members


def left_out(members):
    return members[1:]


def added(members):
    return [*members[:-1], (tarfile.TarInfo("x/more"), b"more"), members[-1]]


def other_format(members):
    member, content = members[-1]
    return [*members[:-1], (member, json.dumps({**json.loads(content), "format": 9}).encode())]


def outside(members):
    return [(tarfile.TarInfo("../outside"), b""), *members]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without_manifest, "it has no manifest.json, so that it is not complete"),
        (changed_content, "x/a is missing, changed or not listed"),
        (changed_link, "x/link is missing, changed or not listed"),
        (left_out, "x/a is missing, changed or not listed"),
        (added, "x/more is missing, changed or not listed"),
        (other_format, "expected format 1"),
        (outside, "outside"),
    ],
)
def test_changed_archives(archive, target, change, problem):
    rewritten(archive, change)
    with pytest.raises(ArchiveError, match=problem):
        extract(archive, target)
    assert not (target.parent / "outside").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_archives(archive, target, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArchiveError, match="nothing was restored"):
        extract(archive, target)


def test_manifest_lists_every_file(archive):
    with tarfile.open(archive) as tar:
        *_, last = tar
        listed = json.load(tar.extractfile(last))["sha256"]
        assert last.name == MANIFEST
        assert set(listed) == set(tar.getnames()) - {MANIFEST}
