"""Artifacts on their way from the registry to a replica, kept on each node by their sha256.

A version's files never change, so what lies on the node under the right sha256 needs no registry:
a replica that starts again reads it from there, also while the registry actor is away.
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

from registry.errors import CorruptArtifactError, MissingArtifactError, UnsafePathError
from registry.folder.atomic_io import read_file, write_file
from registry.records import ModelMetadata

logger = logging.getLogger(__name__)

CACHE_BYTES = 2_000_000_000
"""What a node keeps; beyond it the files that were not used for longest are removed."""


class ArtifactCache:
    """Files named by the sha256 of their content, in a folder that only this user can enter.

    It saves time and is never needed: what is damaged, a link, or cannot be read counts as absent,
    and what cannot be written is not kept; both are logged. Several processes may share it.

    Args:
        folder: where the files lie; made when the first is kept.
        limit_bytes: size of all files together.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def read(self, sha256: str) -> bytes | None:
        """Return the content with this sha256, None where there is none or not that."""
        path = self._folder / sha256
        try:
            self._refuse_foreign_folder()
            content = read_file(path)
            _check(content, sha256, path)
            os.utime(path)  # the time of last use, by which old ones are removed
        except FileNotFoundError:
            return None
        except (OSError, CorruptArtifactError, UnsafePathError) as error:
            logger.warning("cached artifact not used: %s", error)
            return None
        return content

    def keep(self, sha256: str, content: bytes) -> None:
        """Put content in the cache in one step, then remove the oldest beyond the limit."""
        path = self._folder / sha256
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._refuse_foreign_folder()
            write_file(path, content)
            self._remove_oldest(path)
        except OSError as error:
            logger.warning("artifact not cached: %s", error)

    def _refuse_foreign_folder(self) -> None:
        """Raise OSError unless the folder is a real one that no other user can write to."""
        status = self._folder.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or status.st_uid != os.getuid()
            or stat.S_IMODE(status.st_mode) != 0o700
        ):
            problem = "expected a folder of this user's with mode 0700; remove what is there"
            raise PermissionError(f"{self._folder}: {problem}")

    def _remove_oldest(self, newest: Path) -> None:
        """Keep to the limit; `newest` stays, and so do files that another process just removed."""
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
    """Return an artifact's content: from this node's cache, else through Ray's object store.

    Args:
        registry: the registry actor.
        metadata: the version's, with the sha256 that the content must have.
        artifact: a key of `metadata.artifacts`.
        cache: `node_cache()`, but for tests.

    Raises:
        MissingArtifactError: the version has no such artifact, or the registry has lost it.
        CorruptArtifactError: what came is not what was registered.
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
    await asyncio.to_thread(cache.keep, expected, content)
    return content


def node_cache() -> ArtifactCache:
    """Return this node's cache for this user: a folder below TMPDIR, or below /tmp without it."""
    folder = Path(tempfile.gettempdir()) / f"tradeserve-artifacts-{os.getuid()}"
    return ArtifactCache(folder, CACHE_BYTES)


def _check(content: bytes, expected_sha256: str, where: Path | str) -> None:
    actual_sha256 = hashlib.sha256(content).hexdigest()
    if actual_sha256 != expected_sha256:
        raise CorruptArtifactError(where, expected_sha256, actual_sha256)
