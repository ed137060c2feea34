"""A tar file whose last member holds the digest of every other one."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from serve_app.backup.errors import ArchiveError

MANIFEST = "manifest.json"
FORMAT = 1


class ArchiveWriter:
    """Adds files to an archive, and their digests to its manifest."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._entries: dict[str, str] = {}

    def add(self, name: str, source: Path) -> None:
        """Add a file, or a link as a link, under a relative name."""
        member = self._archive.gettarinfo(source, name)
        if member.issym():
            self._archive.addfile(member)
            self._entries[name] = _digest_of_link(member.linkname)
            return
        with source.open("rb") as content:
            # As a file also if it has a second name, of which tarfile would make a link.
            member.type, member.size = tarfile.REGTYPE, os.fstat(content.fileno()).st_size
            reader = _Hashing(content)
            self._archive.addfile(member, reader)
        self._entries[name] = reader.digest.hexdigest()

    def finish(self) -> None:
        """Add the manifest."""
        manifest = {
            "format": FORMAT,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": self._entries,
        }
        content = json.dumps(manifest, indent=1).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mode = len(content), 0o600
        self._archive.addfile(member, io.BytesIO(content))


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Yield the writer of a new archive that only this user can read.

    The file has its name only once it is complete and on the disk.

    Raises:
        FileExistsError: a file has that name.
    """
    if path.exists():
        raise FileExistsError(path)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                writer = ArchiveWriter(archive)
                yield writer
                writer.finish()
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # unlike a rename, replaces nothing
    finally:
        partial.unlink(missing_ok=True)


def extract(path: Path, folder: Path) -> None:
    """Extract an archive into an existing, empty folder, and compare it with its manifest.

    Raises:
        ArchiveError: a member has a name or a kind that no backup has, or the content is not that
            of the manifest.
    """
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(path, str(error)) from error
    manifest = folder / MANIFEST
    expected = _digests_in(path, manifest)
    manifest.unlink()
    received = {
        str(file.relative_to(folder)): _digest_of(file)
        for file in folder.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }
    if different := sorted(name for name, _ in expected.items() ^ received.items()):
        raise ArchiveError(path, f"{different[0]} is missing, changed or not listed")


def _digests_in(path: Path, manifest: Path) -> dict[str, str]:
    try:
        content = json.loads(manifest.read_bytes())
        known, digests = content["format"] == FORMAT, content["sha256"]
    except FileNotFoundError:
        raise ArchiveError(path, f"it has no {MANIFEST}, so that it is not complete") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(path, f"{MANIFEST} cannot be read: {error!r}") from error
    if not known or not isinstance(digests, dict):
        raise ArchiveError(path, f"{MANIFEST}: expected format {FORMAT}")
    return digests


def _digest_of(path: Path) -> str:
    if path.is_symlink():
        return _digest_of_link(str(path.readlink()))
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _digest_of_link(target: str) -> str:
    return hashlib.sha256(f"link to {target}".encode()).hexdigest()


class _Hashing:
    """Hashes what is read from a file."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._content.read(size)
        self.digest.update(data)
        return data

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest of the file's methods
        return getattr(self._content, name)
