"""Writes a backup of a running server: registry, history, states, tokens, experiments, bars."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from features.bar_log.copying import copy_log, has_log
from registry.folder.registry_folder import RegistryFolder
from registry.folder.snapshot import model_files
from registry.layout import EXPERIMENTS, SERVING, TOKENS, TRUSTED_KEYS, Layout
from serve_app.backup.archive import ArchiveWriter, writing
from serve_app.backup.errors import MissingRegistryError
from serve_app.experiments.store.copying import copy_store
from serve_app.settings import AppSettings

REGISTRIES, DATABASES, BARS = "registries", "databases", "bars"
"""The folders of an archive: one registry per root, one database per URL, one bar log per
folder and database, by their position."""


def roots_of(applications: Sequence[AppSettings]) -> list[Path]:
    """Return the registries of the applications, each once, in order."""
    return list(dict.fromkeys(Path(settings.registry_root) for settings in applications))


def urls_of(applications: Sequence[AppSettings]) -> list[str]:
    """Return the databases outside the registries, each once, in order."""
    urls = (settings.experiments.database_url for settings in applications)
    return list(dict.fromkeys(url for url in urls if url is not None))


@dataclass(frozen=True, slots=True)
class BarLogPlace:
    """Where a bar log is kept."""

    folder: Path
    url: str | None
    """The URL of its database; None for the file in the folder."""
    root: Path | None
    """The registry whose folder has that of the log; None for a folder of its own."""

    @classmethod
    def of(cls, settings: AppSettings) -> Self:
        """Return the place of an application's log."""
        root = Path(settings.registry_root) if settings.bars.folder is None else None
        return cls(settings.bar_folder, settings.bars.database_url, root)


def logs_of(applications: Sequence[AppSettings]) -> list[BarLogPlace]:
    """Return the bar logs of the applications, each once, in order."""
    return list(dict.fromkeys(map(BarLogPlace.of, applications)))


def back_up(applications: Sequence[AppSettings], path: Path) -> None:
    """Write everything that the applications keep to a new file, while they run.

    A model's writers wait while its files are read. The databases are read first: a version in an
    experiment is then part of the copied registry, unless it was deleted meanwhile.

    Args:
        applications: the settings of the server's applications.
        path: the file to write; only this user can read it.

    Raises:
        FileExistsError: a file has that name.
        MissingRegistryError: a registry has no folder.
        RegistryError: the registry cannot be read.
        StoreError: a database cannot be read.
        BarLogError: a bar log cannot be read.
    """
    roots = roots_of(applications)
    for root in roots:
        if not root.is_dir():
            raise MissingRegistryError(root)
    with (
        writing(path) as archive,
        tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".backup-") as copies,
    ):
        for number, log in enumerate(logs_of(applications)):
            if has_log(log.folder):
                _add_bars(archive, log, f"{BARS}/{number}", Path(copies) / "bars")
        for number, url in enumerate(urls_of(applications)):
            _add_database(archive, url, f"{DATABASES}/{number}.db", Path(copies))
        for number, root in enumerate(roots):
            name = f"{REGISTRIES}/{number}"
            for database in sorted(root.glob(f"{EXPERIMENTS}*.db")):
                _add_database(archive, _sqlite(database), f"{name}/{database.name}", Path(copies))
            _add_registry(archive, root, name)


def _add_bars(archive: ArchiveWriter, log: BarLogPlace, name: str, copy: Path) -> None:
    copy_log(log.folder, log.url, copy, None)
    for path in sorted(copy.rglob("*")):
        if path.is_file():
            archive.add(f"{name}/{path.relative_to(copy)}", path)
    shutil.rmtree(copy)


def _add_database(archive: ArchiveWriter, url: str, name: str, copies: Path) -> None:
    copy = copies / "copy.db"
    copy_store(url, _sqlite(copy))
    archive.add(name, copy)
    copy.unlink()


def _add_registry(archive: ArchiveWriter, root: Path, name: str) -> None:
    folder = RegistryFolder(root, check=lambda *_: None)
    for pattern in (TRUSTED_KEYS, f"{TOKENS}json", f"{SERVING}*.json"):
        for path in sorted(root.glob(pattern)):
            archive.add(f"{name}/{path.name}", path)
    for model in Layout(root).models():
        with model_files(folder, model) as files:
            for path in files:
                archive.add(f"{name}/{path.relative_to(root)}", path)


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path.absolute()}"
