"""Lists what a copy of a registry consists of, while no writer changes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.folder.registry_folder import RegistryFolder
from registry.layout import STAGE_LINKS
from registry.reading import reading

_HISTORY = ("history.jsonl", ".intent.json")


@contextmanager
def model_files(folder: RegistryFolder, name: str) -> Iterator[list[Path]]:
    """Yield the files and links of a model, whose writers wait until the context ends.

    Left out are locks, and versions that are being registered or deleted. The intent of a change in
    progress, whose writer has died, is part of it: the next writer completes the change.

    Raises:
        UnknownModelError: the model has no folder.
        StorageError: a writer holds the lock for too long.
        UnreadablePathError: this user may not read the folder.
    """
    layout = folder.layout
    with folder.transactions.lock_for_reading(name), reading(layout.model(name)):
        model = layout.model(name)
        files = [model / name for name in (*_HISTORY, *STAGE_LINKS.values())]
        for version in layout.versions(name):
            files += sorted(layout.version(name, version).rglob("*"))
        yield [path for path in files if path.is_symlink() or path.is_file()]
