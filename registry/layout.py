"""Where things lie in a registry folder. The only module that knows these names.

models/                       the registry
└── hybrid_cnn_lstm/          a model
    ├── .lock                 held by the one writer at work
    ├── .incoming-…/          a version being registered; not yet part of the registry
    ├── v1.0.0/               a version: immutable artifacts and metadata.json
    ├── v1.1.0/
    ├── production -> v1.0.0  at most one link a stage; the link is the truth
    └── staging -> v1.1.0
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from registry.errors import InvalidNameError
from registry.records import STAGE_NAMES, ModelStage, check_model_name, check_version, precedence

METADATA = "metadata.json"
STAGE_LINKS = {stage: name for name, stage in STAGE_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `root`. Names and versions are validated before they become paths."""

    root: Path

    def model(self, name: str) -> Path:
        """Return the folder of model `name`."""
        return self.root / check_model_name(name)

    def version(self, name: str, version: str) -> Path:
        """Return the folder of one version of model `name`."""
        return self.model(name) / f"v{check_version(version)}"

    def metadata(self, name: str, version: str) -> Path:
        """Return the metadata file of one version."""
        return self.version(name, version) / METADATA

    def lock(self, name: str) -> Path:
        """Return the file that a writer of model `name` locks."""
        return self.model(name) / ".lock"

    def incoming(self, name: str) -> Path:
        """Return a new folder name to fill before it becomes a version."""
        return self.model(name) / f".incoming-{uuid.uuid4().hex}"

    def stage_link(self, name: str, stage: ModelStage) -> Path:
        """Return the link of the stage `stage` (Production or Staging)."""
        return self.model(name) / STAGE_LINKS[stage]

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.root.iterdir()
            if _is_model_name(entry.name) and entry.is_dir() and not entry.is_symlink()
        )

    def versions(self, name: str) -> list[str]:
        """Return the versions of model `name`, oldest first by semantic precedence."""
        folder = self.model(name)
        if not folder.is_dir():
            return []
        found = [
            entry.name[1:]
            for entry in folder.iterdir()
            if entry.name.startswith("v") and _is_version(entry.name[1:]) and entry.is_dir()
        ]
        return sorted(found, key=precedence)


def _is_model_name(name: str) -> bool:
    try:
        check_model_name(name)
    except InvalidNameError:
        return False
    return True


def _is_version(version: str) -> bool:
    try:
        check_version(version)
    except InvalidNameError:
        return False
    return True
