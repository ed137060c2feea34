"""What copying tools leave in the place of a stage link: its text in a file, or a copy of a folder.

Zip archives, Git on Windows and shares write the text of a link; `cp -rL` and buckets copy the
version that it leads to. Neither is a link, but both name the version, and may be replaced by a
link without a loss.
"""

import json
import stat
from pathlib import Path

from registry.errors import RegistryError
from registry.folder import atomic_io, metadata
from registry.layout import METADATA, Layout, is_folder, is_version
from registry.records import ModelStage

MAX_TEXT_BYTES = 200
_TEXT = "\nThis file is a stage link, since its file system has no symbolic links.\n"


def link_text(folder: str) -> bytes:
    """Return the content of a file that is a stage link to a version's folder."""
    return f"{folder}{_TEXT}".encode()


def read_link_text(path: Path) -> str | None:
    """Return the version's folder that a file of the registry leads to; None for any other file."""
    if path.stat().st_size > MAX_TEXT_BYTES:
        return None
    text = atomic_io.read_file(path).decode(errors="replace")
    return text.removesuffix(_TEXT) if text.endswith(_TEXT) else None


def version_of_remains(layout: Layout, name: str, stage: ModelStage) -> str | None:
    """Return the version whose copy or name is in the place of a stage link.

    None if there is anything else, whose removal would lose something, or if the version is gone.

    Raises:
        OSError: it cannot be read.
    """
    path = layout.stage_link(name, stage)
    mode = path.lstat().st_mode
    try:
        if stat.S_ISREG(mode):
            version = _version_in_file(path)
        elif stat.S_ISDIR(mode):
            version = _version_in_folder(path, layout, name)
        else:
            return None
    except (RegistryError, ValueError):  # not readable as either: for a person to decide
        return None
    is_present = version is not None and is_folder(layout.version(name, version))
    return version if is_present else None


def _version_in_file(path: Path) -> str | None:
    if path.stat().st_size > MAX_TEXT_BYTES:
        return None
    text = (read_link_text(path) or atomic_io.read_file(path).decode()).strip()
    version = text.removesuffix("/").removeprefix("./").removeprefix("v")
    return version if text.removeprefix("./").startswith("v") and is_version(version) else None


def _version_in_folder(folder: Path, layout: Layout, name: str) -> str | None:
    """Return the version of which every file in the folder is a copy."""
    content = atomic_io.read_file(folder / METADATA)
    version = str(json.loads(content).get("version"))
    original = layout.version(name, version)
    # The copy's stage, metrics and signatures may be older.
    metadata.parse(content, folder / METADATA, name, version)
    for path in folder.iterdir():
        if path.name == METADATA:
            continue
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        counterpart = original / path.name
        if not counterpart.is_file() or (
            atomic_io.sha256_of(path) != atomic_io.sha256_of(counterpart)
        ):
            return None
    return version
