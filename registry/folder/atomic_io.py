"""Durable, atomic file operations: a reader sees the old state or the new one, never a mixture.

Every change is written to a temporary name next to its target, flushed to the disk and renamed into
place.
"""

import errno
import hashlib
import os
import stat
import uuid
from pathlib import Path

from registry.errors import UnsafePathError
from registry.folder.sharing import share_file, share_owner
from registry.reading import reading

CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: Path, target: Path) -> str:
    """Copy `source` to the new file `target`, flushed to the disk; return its hex sha256."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        share_file(writer.fileno(), target.parent)
        os.fsync(writer.fileno())
    return digest.hexdigest()


def write_file(target: Path, content: bytes, mode: int | None = None) -> None:
    """Replace the content of `target` atomically.

    By default the users who may read the folder, or the file that is replaced, may read the file;
    `mode` restricts it to a private file's permissions instead.
    """
    beside = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600 if mode is None else mode)
        with open(descriptor, "wb") as writer:  # noqa: PTH123 - a descriptor has no path
            writer.write(content)
            writer.flush()
            if mode is None:
                share_file(descriptor, target.parent, replaced=target)
            else:
                share_owner(descriptor, target)
            os.fsync(writer.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    flush_folder(target.parent)


def make_file(target: Path) -> None:
    """Make an empty file unless it exists."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        share_file(descriptor, target.parent)
    finally:
        os.close(descriptor)


def publish_folder(filled: Path, target: Path) -> None:
    """Rename the complete folder `filled` to `target`, which must not exist."""
    flush_folder(filled)
    filled.rename(target)
    flush_folder(target.parent)


def append_line(target: Path, line: bytes) -> None:
    """Append a line to a file, flushed to the disk; an incomplete last line is removed first."""
    is_new = not target.exists()
    with target.open("a+b") as file:
        if is_new:
            share_file(file.fileno(), target.parent)
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    flush_folder(target.parent)


def read_file(path: Path | str) -> bytes:
    """Return a file's content without following a link.

    Raises:
        UnsafePathError: `path` is a link, a folder or a pipe.
        UnreadablePathError: this user may not read it, or its disk does not respond.
        FileNotFoundError: `path` does not exist.
    """
    with reading(path):
        try:
            # Without O_NONBLOCK, opening a pipe in the file's place would block forever.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnsafePathError(path) from None
            raise
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnsafePathError(path)
            chunks = []
            while chunk := os.read(descriptor, CHUNK_BYTES):
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            os.close(descriptor)


def point_link(link: Path, target: str, text: bytes) -> None:
    """Make the symbolic link `link` point to its sibling `target`, atomically.

    A file system without symbolic links (FAT, some mounts of buckets and shares) receives a file
    with the content `text` instead.
    """
    beside = link.with_name(f".{link.name}-{uuid.uuid4().hex}")
    try:
        beside.symlink_to(target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        write_file(link, text)
        return
    try:
        beside.replace(link)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    flush_folder(link.parent)


def remove_link(link: Path) -> None:
    """Remove the symbolic link `link` if it exists."""
    link.unlink(missing_ok=True)
    flush_folder(link.parent)


def flush_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
