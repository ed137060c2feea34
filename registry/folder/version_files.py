"""The version folders of a registry and their metadata files."""

import os
from pathlib import Path
from typing import NamedTuple

from registry.errors import (
    InvalidMetadataError,
    UnknownModelError,
    UnknownVersionError,
    UnreadablePathError,
    UnsafePathError,
)
from registry.folder import atomic_io, metadata
from registry.layout import METADATA, Layout, is_folder
from registry.reading import reading
from registry.records import ModelInfo, ModelMetadata

UNREADABLE = (InvalidMetadataError, UnreadablePathError, UnsafePathError)
"""The errors of a version that exists, and whose metadata cannot be read."""

DAMAGED = (UnknownModelError, UnknownVersionError, *UNREADABLE)
"""The errors of a version whose folder or metadata was removed or modified externally."""


class _Parsed(NamedTuple):
    """A metadata file as of its last read."""

    file: str
    state: tuple[int, int, int]
    """The time of change, inode and size; every write of the registry produces a new inode."""
    info: ModelInfo


class VersionFiles:
    """The models and versions that exist in a folder, with the metadata recorded in it.

    Metadata is parsed once per state of its file.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._parsed: dict[tuple[str, str], _Parsed] = {}

    def models(self) -> list[str]:
        """Return the names of the models that have at least one version, or cannot be read."""
        return [name for name in self._layout.models() if self._may_have_versions(name)]

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, oldest first.

        Raises:
            UnknownModelError: there is none.
            UnsafePathError: a link is in the place of the model's folder.
        """
        check_no_link(self._layout.model(name))
        versions = self._layout.versions(name)
        if not versions:
            raise UnknownModelError(name, self.models())
        return versions

    def read(self, name: str, version: str) -> ModelInfo:
        """Return a version as its metadata file describes it.

        Raises:
            UnknownModelError, UnknownVersionError: it does not exist.
            InvalidMetadataError: the file is missing or invalid.
            UnreadablePathError: this user may not read it.
            UnsafePathError: a link or special file is in its place.
        """
        parsed = self._parsed.get((name, version))
        folder = parsed.info.path if parsed else self._layout.version(name, version)
        file = parsed.file if parsed else f"{folder}/{METADATA}"
        try:
            with reading(file):
                status = os.lstat(file)
            state = (status.st_mtime_ns, status.st_ino, status.st_size)
            if parsed is None or parsed.state != state:
                content = atomic_io.read_file(file)
                info = ModelInfo(metadata=metadata.parse(content, file, name, version), path=folder)
                parsed = self._parsed[name, version] = _Parsed(file, state, info)
        except FileNotFoundError:
            self._parsed.pop((name, version), None)
            if is_folder(folder):
                raise InvalidMetadataError(file, "the file is missing") from None
            raise UnknownVersionError(name, version, self.versions(name)) from None
        return parsed.info

    def write(self, changed: ModelMetadata) -> None:
        """Replace a version's metadata file."""
        file = self._layout.metadata(changed.name, changed.version)
        atomic_io.write_file(file, metadata.dump(changed))

    def _may_have_versions(self, name: str) -> bool:
        try:
            return bool(self._layout.versions(name))
        except UnreadablePathError:
            return True


def check_no_link(path: Path) -> None:
    """Raise UnsafePathError if `path` is a link."""
    with reading(path):
        if path.is_symlink():
            raise UnsafePathError(path)
