"""Composes the parts that read and change one registry folder."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from registry.folder.artifact_changes import ArtifactChanges
from registry.folder.reader import FolderReader
from registry.folder.stage_changes import Check, StageChanges
from registry.folder.transactions import Transactions, utc_now
from registry.folder.version_changes import VersionChanges


class RegistryFolder:
    """The registry in a folder: one reader, and the changes by what they concern.

    Args:
        root: the folder; the first registration creates it.
        check: loads and runs a version before it enters a stage.
        now: the clock of the history.
    """

    def __init__(self, root: Path, check: Check, now: Callable[[], datetime] = utc_now) -> None:
        self.reader = FolderReader(root)
        self.layout = self.reader.layout
        self.transactions = Transactions(self.reader, now)
        self.versions = VersionChanges(self.reader, self.transactions, check)
        self.stages = StageChanges(self.reader, self.transactions, check)
        self.artifacts = ArtifactChanges(self.reader, self.transactions, check)
