"""Fetches artifacts from the registry and caches them on each node by their sha256.

A version's files never change, so a file with the right sha256 is as good as the registry's: a
replica that restarts reads it from the node, even while the registry actor is unavailable.
"""

import asyncio
import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from ray.actor import ActorHandle

from registry.errors import (
    CorruptArtifactError,
    MissingArtifactError,
    UnreadablePathError,
    UnsafePathError,
)
from registry.folder.atomic_io import read_file, write_file
from registry.records import ModelMetadata

logger = logging.getLogger(__name__)

CACHE_BYTES = 2_000_000_000
"""The size of a node's cache; beyond it the least recently used files are removed."""


class ArtifactCache:
    """Files named by the sha256 of their content, in a folder that only this user can enter.

    The cache saves time and is never required: a file that is damaged, a link or unreadable counts
    as absent, and content that cannot be written is not cached; both are logged. Several processes
    may share the folder.

    Args:
        folder: the folder of the files; created with the first one.
        limit_bytes: the largest total size of the files.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def read(self, sha256: str) -> bytes | None:
        """Return the content with this sha256, None if the cache has no valid copy."""
        path = self._folder / sha256
        try:
            self._require_own_folder()
            content = read_file(path)
            _check(content, sha256, path)
            os.utime(path)  # marks the file as recently used
        except FileNotFoundError:
            return None
        except (OSError, CorruptArtifactError, UnreadablePathError, UnsafePathError) as error:
            logger.warning("cached artifact not used: %s", error)
            return None
        return content

    def put(self, sha256: str, content: bytes) -> None:
        """Write content atomically, then remove the least recently used files over the limit."""
        path = self._folder / sha256
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._require_own_folder()
            write_file(path, content)
            self._remove_oldest(path)
        except OSError as error:
            logger.warning("artifact not cached: %s", error)

    def _require_own_folder(self) -> None:
        """Raise OSError unless the folder is a real folder that no other user can write to."""
        status = self._folder.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or status.st_uid != os.getuid()
            or stat.S_IMODE(status.st_mode) != 0o700
        ):
            problem = "expected a folder that this user owns, with mode 0700; remove it"
            raise PermissionError(f"{self._folder}: {problem}")

    def _remove_oldest(self, newest: Path) -> None:
        """Remove files beyond the limit, but never `newest`; ignore those already removed."""
        files = []
        for path in self._folder.iterdir():
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            files.append((status.st_mtime_ns, path, status.st_size))
        total_bytes = sum(size_bytes for _, _, size_bytes in files)
        for _, path, size_bytes in sorted(files):
            if total_bytes <= self._limit_bytes:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total_bytes -= size_bytes


async def fetch(
    registry: ActorHandle[Any], metadata: ModelMetadata, artifact: str, cache: ArtifactCache
) -> bytes:
    """Return an artifact's content: from this node's cache, or else through Ray's object store.

    Args:
        registry: the registry actor.
        metadata: metadata of the version, with the sha256 that the content must have.
        artifact: a key of `metadata.artifacts`.
        cache: the node's cache, see `node_cache`.

    Raises:
        MissingArtifactError: the version has no such artifact, or the registry has lost it.
        CorruptArtifactError: the content differs from what was registered.
    """
    where = f"{metadata.name}/v{metadata.version}/{artifact}"
    if artifact not in metadata.artifacts:
        known = ", ".join(metadata.artifacts)
        raise MissingArtifactError(where, f"one of the version's artifacts: {known}")
    expected = metadata.artifacts[artifact]
    cached = await asyncio.to_thread(cache.read, expected)
    if cached is not None:
        return cached
    content: bytes = await registry.read_artifact.remote(metadata.name, metadata.version, artifact)
    _check(content, expected, where)
    await asyncio.to_thread(cache.put, expected, content)
    return content


def node_cache() -> ArtifactCache:
    """Return this node's cache for this user: a folder in TMPDIR, or in /tmp if that is unset."""
    folder = Path(tempfile.gettempdir()) / f"tradeserve-artifacts-{os.getuid()}"
    return ArtifactCache(folder, CACHE_BYTES)


def _check(content: bytes, expected_sha256: str, where: Path | str) -> None:
    actual_sha256 = hashlib.sha256(content).hexdigest()
    if actual_sha256 != expected_sha256:
        raise CorruptArtifactError(where, expected_sha256, actual_sha256)
