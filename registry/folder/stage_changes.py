"""Changes of stage: promotion, staging, retirement and rollback."""

import logging
from collections.abc import Callable
from typing import TypeAlias

from registry.errors import NothingToRollBackError, StageHeldError
from registry.folder.journal import rollback_target
from registry.folder.reader import FolderReader
from registry.folder.transactions import Transactions
from registry.folder.trusted_keys import read_trusted_keys
from registry.layout import STAGE_LINKS
from registry.predictors import choose_artifact
from registry.records import Action, ModelInfo, ModelMetadata, ModelStage
from registry.signatures import check_signed

logger = logging.getLogger(__name__)

Check: TypeAlias = Callable[[ModelMetadata, Callable[[str], bytes]], None]
"""Loads and runs a version, given its metadata and a function that returns an artifact's content.

It raises a RegistryError if the version cannot serve."""

_ACTIONS = {
    ModelStage.PRODUCTION: Action.PROMOTED,
    ModelStage.STAGING: Action.STAGED,
    ModelStage.ARCHIVED: Action.RETIRED,
    ModelStage.NONE: Action.UNSTAGED,
}
_STAGES = {
    **{action: stage for stage, action in _ACTIONS.items()},
    Action.ROLLED_BACK: ModelStage.PRODUCTION,
}


class StageChanges:
    """Moves versions between stages.

    Every change takes `by` (its author; the process's user and host if None) and `reason` for the
    history.
    """

    def __init__(self, reader: FolderReader, transactions: Transactions, check: Check) -> None:
        self._reader, self._transactions, self._check = reader, transactions, check

    def try_out(self, name: str, version: str) -> None:
        """Load and run a version as before it enters a stage; raise if it cannot serve."""
        metadata = self._reader.get(name, version).metadata
        if keys := read_trusted_keys(self._reader.layout):
            check_signed(metadata, keys, choose_artifact(metadata))
        self._check(metadata, lambda artifact: self._reader.read_artifact(name, version, artifact))

    def set_stage(
        self, name: str, version: str, stage: ModelStage, by: str | None = None, reason: str = ""
    ) -> None:
        """Move a version to a stage; for Production and Staging it is loaded and run first."""
        if stage in STAGE_LINKS:
            self.try_out(name, version)
        with self._transactions.exclusive(name):
            present = self._reader.get(name, version).metadata.stage
            if present is stage and stage in STAGE_LINKS:
                return
            if present is ModelStage.PRODUCTION:
                raise StageHeldError(name, version, present, f"move to {stage}")
            self._move(name, _ACTIONS[stage], version, by, reason)
        if (
            stage is ModelStage.PRODUCTION
            and not self._reader.get(name, version).metadata.reference_outputs
        ):
            logger.warning(
                "%s:%s was promoted without reference outputs: no comparison with its training "
                "library was possible; see modelctl convert",
                name,
                version,
            )

    def retire(self, name: str, version: str, by: str | None = None, reason: str = "") -> None:
        """Archive a version, which is then in no stage."""
        with self._transactions.exclusive(name):
            present = self._reader.get(name, version).metadata
            if self._reader.expected_stage(present) is ModelStage.PRODUCTION:
                raise StageHeldError(name, version, ModelStage.PRODUCTION, "retire")
            self._move(name, Action.RETIRED, version, by, reason)

    def rollback(self, name: str, by: str | None = None, reason: str = "") -> ModelInfo:
        """Return the model to the production version before the current one.

        A repeated rollback goes further back. Deleted and retired versions are skipped.
        """
        while True:
            version = self._rollback_target(name)
            self.try_out(name, version)
            with self._transactions.exclusive(name):
                # Otherwise another writer changed it while the version was loaded and run.
                if self._rollback_target(name) == version:
                    self._move(name, Action.ROLLED_BACK, version, by, reason)
                    return self._reader.get(name, version)

    def _rollback_target(self, name: str) -> str:
        target = rollback_target(self._reader.history(name))
        if target is None:
            current = self._reader.links.holders(name).get(ModelStage.PRODUCTION)
            raise NothingToRollBackError(name, current)
        return target

    def _move(self, name: str, action: Action, version: str, by: str | None, reason: str) -> None:
        """Move a version to the stage that the action leads to."""
        stage = _STAGES[action]
        metadata = self._reader.get(name, version).metadata
        expected = self._reader.expected_holders(name)
        entry = self._transactions.entry(
            name,
            action,
            version,
            by=by,
            reason=reason,
            from_stage=metadata.stage,
            to_stage=stage,
            replaced=expected.get(stage) or self._reader.links.holders(name).get(stage),
        )
        if stage in STAGE_LINKS:
            self._transactions.apply(
                name, entry, lambda: self._reader.links.point(name, stage, version)
            )
        else:
            moved = metadata.model_copy(update={"stage": stage, "updated_at": entry.time})
            self._transactions.apply(name, entry, lambda: self._leave_stage(moved))

    def _leave_stage(self, moved: ModelMetadata) -> None:
        """Write the metadata; for a version in Staging, removing the link is the commit."""
        self._reader.files.write(moved)
        if self._reader.links.targets(moved.name).get(ModelStage.STAGING) == moved.version:
            self._reader.links.remove(moved.name, ModelStage.STAGING)
