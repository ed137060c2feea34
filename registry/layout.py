"""The names of files and folders in a registry; no other module knows them.

models/                       the registry
├── .trusted-keys.json       the ids of the keys that must have signed a version; optional
├── .serving-APP.json         the serving state of the application APP, written by it alone
├── .serving-APP.lock         locked by the application while it runs
├── .experiments-APP.db       the application's experiment store, with -wal and -shm beside it
├── .bars/                    the bar log; its own code knows what is inside
├── .tokens.json              the digests of the accepted tokens, with a lock beside it
└── hybrid_cnn_lstm/          a model
    ├── .lock                 locked by the one writer that changes the model
    ├── .incoming-…/          a version being registered; not yet part of the registry
    ├── .deleted-…/           a version being deleted; no longer part of the registry
    ├── .intent.json          the change in progress; the next writer completes or discards it
    ├── history.jsonl         one line per change, append-only
    ├── v1.0.0/               a version: immutable artifacts and metadata.json
    ├── v1.1.0/
    ├── production -> v1.0.0  at most one link per stage; the link is authoritative
    └── staging -> v1.1.0
"""

import os
import stat
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from registry.errors import InvalidNameError
from registry.reading import reading
from registry.records import STAGE_NAMES, ModelStage, check_model_name, check_version, precedence

METADATA = "metadata.json"
TRUSTED_KEYS = ".trusted-keys.json"
BARS = ".bars"
SERVING, EXPERIMENTS, TOKENS = ".serving-", ".experiments-", ".tokens."
"""Prefixes of the files that an application keeps next to the models."""
INCOMING, DELETED, ADDED = ".incoming-", ".deleted-", ".added-"
"""Prefixes of versions being registered or deleted, and of artifacts being added."""
STAGE_LINKS = {stage: name for name, stage in STAGE_NAMES.items()}
"""The name of the link by stage; the other stages have none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `root`. Every name and version is validated before it becomes part of a path.

    >>> layout = Layout(Path("models"))
    >>> print(layout.metadata("toy", "1.0.0"))
    models/toy/v1.0.0/metadata.json
    >>> layout.model("../outside")
    Traceback (most recent call last):
    registry.errors.versions.InvalidNameError: invalid model name '../outside': expected 1 to 64 ...
    """

    root: Path

    def trusted_keys(self) -> Path:
        """Return the file of the key ids of which one must have signed a version."""
        return self.root / TRUSTED_KEYS

    def serving(self, application: str) -> Path:
        """Return the file of the application's serving state."""
        return self.root / f"{SERVING}{check_model_name(application)}.json"

    def serving_lock(self, application: str) -> Path:
        """Return the file that the application locks while it runs."""
        return self.root / f"{SERVING}{check_model_name(application)}.lock"

    def experiments(self, application: str) -> Path:
        """Return the application's default experiment store."""
        return self.root / f"{EXPERIMENTS}{check_model_name(application)}.db"

    def bars(self) -> Path:
        """Return the default folder of the bar log."""
        return self.root / BARS

    def tokens(self) -> Path:
        """Return the default file of the server's tokens."""
        return self.root / f"{TOKENS}json"

    def model(self, name: str) -> Path:
        """Return the folder of model `name`."""
        return self.root / check_model_name(name)

    def version(self, name: str, version: str) -> Path:
        """Return the folder of one version of model `name`."""
        return Path(f"{self.root}/{check_model_name(name)}/v{check_version(version)}")

    def metadata(self, name: str, version: str) -> Path:
        """Return the metadata file of one version."""
        return self.version(name, version) / METADATA

    def lock(self, name: str) -> Path:
        """Return the lock file of model `name`."""
        return self.model(name) / ".lock"

    def incoming(self, name: str) -> Path:
        """Return a new folder name in which a registration assembles a version."""
        return self.model(name) / f"{INCOMING}{uuid.uuid4().hex}"

    def deleted(self, name: str, version: str) -> Path:
        """Return a new folder name to which a deletion moves a version."""
        return self.model(name) / f"{DELETED}{self.version(name, version).name}-{uuid.uuid4().hex}"

    def added(self, name: str, version: str) -> Path:
        """Return a new file name next to a version's artifacts, for an artifact being added."""
        return self.version(name, version) / f"{ADDED}{uuid.uuid4().hex}"

    def history(self, name: str) -> Path:
        """Return the history file of model `name`."""
        return self.model(name) / "history.jsonl"

    def intent(self, name: str) -> Path:
        """Return the file that describes the model's change in progress."""
        return self.model(name) / ".intent.json"

    def stage_link(self, name: str, stage: ModelStage) -> Path:
        """Return the link to the version in `stage` (Production or Staging)."""
        return self.model(name) / STAGE_LINKS[stage]

    def has_model(self, name: str) -> bool:
        """Return whether the folder of model `name` exists.

        Raises:
            UnreadablePathError: this user may not see it.
        """
        return is_folder(self.model(name))

    def models(self) -> list[str]:
        """Return the names of all models, sorted.

        Raises:
            UnreadablePathError: this user may not read the registry's folder.
        """
        return sorted(name for name in _folders(self.root) if _is_model_name(name))

    def versions(self, name: str) -> list[str]:
        """Return the versions of model `name`, oldest first by semantic precedence.

        Raises:
            UnreadablePathError: this user may not read the model's folder.
        """
        folders = (folder for folder in _folders(self.model(name)) if folder.startswith("v"))
        versions = (folder.removeprefix("v") for folder in folders)
        return sorted(filter(is_version, versions), key=precedence)


def _folders(path: Path) -> list[str]:
    """Return the names of the folders in `path`, without links to folders."""
    try:
        with reading(path), os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder.

    Raises:
        UnreadablePathError: this user may not see it.
    """
    try:
        with reading(path):
            return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False


@cache
def _is_model_name(name: str) -> bool:
    try:
        check_model_name(name)
    except InvalidNameError:
        return False
    return True


@cache
def is_version(version: str) -> bool:
    """Return whether `version` is a semantic version."""
    try:
        check_version(version)
    except InvalidNameError:
        return False
    return True
