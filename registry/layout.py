"""Where things lie in a registry folder. The only module that knows these names.

models/                       the registry
├── .serving-APP.json         what the server APP in front of it serves; it alone writes here
├── .serving-APP.lock         held by it while it runs
├── .experiments-APP.db       its predictions and outcomes, with -wal and -shm beside it
└── hybrid_cnn_lstm/          a model
    ├── .lock                 held by the one writer at work
    ├── .incoming-…/          a version being registered; not yet part of the registry
    ├── .deleted-…/           a version being deleted; no longer part of it
    ├── .intent.json          a change under way, finished or dropped by the next writer
    ├── history.jsonl         what happened, one line each, only ever added to
    ├── v1.0.0/               a version: immutable artifacts and metadata.json
    ├── v1.1.0/
    ├── production -> v1.0.0  at most one link a stage; the link is the truth
    └── staging -> v1.1.0
"""

import os
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from registry.errors import InvalidNameError
from registry.records import STAGE_NAMES, ModelStage, check_model_name, check_version, precedence

METADATA = "metadata.json"
SERVING, EXPERIMENTS = ".serving-", ".experiments-"
"""What the names of a server's files begin with; they are no model's."""
INCOMING, DELETED = ".incoming-", ".deleted-"
STAGE_LINKS = {stage: name for name, stage in STAGE_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `root`. Names and versions are validated before they become paths."""

    root: Path

    def serving(self, application: str) -> Path:
        """Return the file in which a server keeps what it serves."""
        return self.root / f"{SERVING}{check_model_name(application)}.json"

    def serving_lock(self, application: str) -> Path:
        """Return the file that a server locks while it runs."""
        return self.root / f"{SERVING}{check_model_name(application)}.lock"

    def experiments(self, application: str) -> Path:
        """Return the database in which a server keeps its experiments, unless it has another."""
        return self.root / f"{EXPERIMENTS}{check_model_name(application)}.db"

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
        """Return the file that a writer of model `name` locks."""
        return self.model(name) / ".lock"

    def incoming(self, name: str) -> Path:
        """Return a new folder name to fill before it becomes a version."""
        return self.model(name) / f"{INCOMING}{uuid.uuid4().hex}"

    def deleted(self, name: str, version: str) -> Path:
        """Return a new folder name for a version that is on its way out."""
        return self.model(name) / f"{DELETED}{self.version(name, version).name}-{uuid.uuid4().hex}"

    def history(self, name: str) -> Path:
        """Return the file of the model's history."""
        return self.model(name) / "history.jsonl"

    def intent(self, name: str) -> Path:
        """Return the file of the change under way."""
        return self.model(name) / ".intent.json"

    def stage_link(self, name: str, stage: ModelStage) -> Path:
        """Return the link of the stage `stage` (Production or Staging)."""
        return self.model(name) / STAGE_LINKS[stage]

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        return sorted(name for name in _folders(self.root) if _is_model_name(name))

    def versions(self, name: str) -> list[str]:
        """Return the versions of model `name`, oldest first by semantic precedence."""
        folders = (each[1:] for each in _folders(self.model(name)) if each.startswith("v"))
        return sorted((version for version in folders if is_version(version)), key=precedence)


def _folders(path: Path) -> list[str]:
    """Return the names of the real folders in `path`; links to folders are none of ours."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


@cache
def _is_model_name(name: str) -> bool:
    try:
        check_model_name(name)
    except InvalidNameError:
        return False
    return True


@cache
def is_version(version: str) -> bool:
    """Tell whether `version` is a semantic version."""
    try:
        check_version(version)
    except InvalidNameError:
        return False
    return True
