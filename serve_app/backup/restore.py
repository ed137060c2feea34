"""Restores a backup on a machine that has nothing at its places yet."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from serve_app.backup.archive import extract
from serve_app.backup.backup import DATABASES, REGISTRIES, roots_of, urls_of
from serve_app.backup.errors import ArchiveError, InUseError
from serve_app.experiments.store.copying import copy_store
from serve_app.settings import AppSettings


def restore(path: Path, applications: Sequence[AppSettings]) -> None:
    """Put everything of a backup where the settings look for it; nothing is replaced.

    The whole file is verified first. Databases outside the registries are filled before the
    registries appear, so that a restore which fails can be repeated.

    Args:
        path: the backup.
        applications: the settings of the server's applications.

    Raises:
        InUseError: a registry has content already.
        ArchiveError: the file is no complete backup, or not one of these applications.
        StoreError: a database cannot be written, or holds rows already (UsedStoreError).
    """
    roots, urls = roots_of(applications), urls_of(applications)
    for root in roots:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise InUseError(root)
    parent = roots[0].absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".restore-") as name:
        folder = Path(name)
        extract(path, folder)
        registries = _parts(path, folder / REGISTRIES, "registries", len(roots))
        databases = _parts(path, folder / DATABASES, "databases", len(urls))
        for database, url in zip(databases, urls, strict=True):
            copy_store(f"sqlite:///{database}", url)
        for registry, root in zip(registries, roots, strict=True):
            root.parent.mkdir(parents=True, exist_ok=True)
            registry.rename(root)  # an empty folder may be replaced


def _parts(path: Path, folder: Path, kind: str, expected: int) -> list[Path]:
    found = list(folder.iterdir()) if folder.is_dir() else []
    for part in found:
        if not (part.stem.isascii() and part.stem.isdecimal()):
            raise ArchiveError(path, f"{folder.name}/{part.name} is none of its {kind}")
    found.sort(key=lambda part: int(part.stem))
    if len(found) != expected:
        problem = f"it holds {len(found)} {kind}, the configuration names {expected}"
        raise ArchiveError(path, problem)
    return found
