"""Restores a backup on a machine that has nothing at its places yet."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from features.bar_log.copying import copy_log
from serve_app.backup.archive import extract
from serve_app.backup.backup import BARS, DATABASES, REGISTRIES, logs_of, roots_of, urls_of
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
        BarLogError: a bar log cannot be written, or its database has one (UsedBarLogError).
    """
    roots, urls, logs = roots_of(applications), urls_of(applications), logs_of(applications)
    for place in (*roots, *(log.folder for log in logs if log.root is None)):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise InUseError(place)
    parent = roots[0].absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".restore-") as name:
        folder = Path(name)
        extract(path, folder)
        registries = _parts(path, folder / REGISTRIES, "registries", len(roots))
        databases = _parts(path, folder / DATABASES, "databases", len(urls))
        for database, url in zip(databases, urls, strict=True):
            copy_store(f"sqlite:///{database}", url)
        for number, copy in _bar_logs(path, folder / BARS, len(logs)):
            log = logs[number]
            if log.root is None:
                log.folder.parent.mkdir(parents=True, exist_ok=True)
                target = log.folder
            else:
                target = registries[roots.index(log.root)] / log.folder.name
            copy_log(copy, None, target, log.url)
        for registry, root in zip(registries, roots, strict=True):
            root.parent.mkdir(parents=True, exist_ok=True)
            registry.rename(root)  # an empty folder may be replaced


def _bar_logs(path: Path, folder: Path, expected: int) -> Iterator[tuple[int, Path]]:
    """Yield the bar logs of a backup with their positions; a server without bars has none."""
    for copy in sorted(folder.iterdir()) if folder.is_dir() else []:
        if copy.name not in map(str, range(expected)):
            problem = f"{folder.name}/{copy.name} is none of the configuration's bar logs"
            raise ArchiveError(path, problem)
        yield int(copy.name), copy


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
