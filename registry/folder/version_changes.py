"""Changes of a model's versions: registration, metrics and deletion."""

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry.errors import DeletedVersionError, StageHeldError, StorageError
from registry.feature_sets import FeatureSetRecord
from registry.folder import atomic_io, metadata
from registry.folder.drafts import check_identical, draft_metadata
from registry.folder.reader import FolderReader
from registry.folder.sharing import make_folder
from registry.folder.source_files import checked_sources
from registry.folder.stage_changes import Check
from registry.folder.transactions import Transactions
from registry.folder.trusted_keys import read_trusted_keys
from registry.layout import METADATA, STAGE_LINKS
from registry.records import Action, ModelInfo, ModelMetadata, ModelStage
from registry.signatures import check_offered, check_signed, manifest

logger = logging.getLogger(__name__)


class VersionChanges:
    """Registers, updates and deletes versions.

    Every change takes `by` (its author; the process's user and host if None) and `reason` for the
    history.
    """

    def __init__(self, reader: FolderReader, transactions: Transactions, check: Check) -> None:
        self._reader, self._transactions, self._check = reader, transactions, check

    def register(
        self,
        name: str,
        version: str,
        files: Mapping[str, Path],
        fields: Mapping[str, Any],
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Publish `files` (source by artifact name) as a new version; see RegistryApi.

        `fields` may contain `signatures`.
        If the files include reference outputs, every file that can serve must return them.
        """
        with checked_sources(files, "register") as sources:
            return self._register(name, version, sources, fields, by, reason)

    def _register(
        self,
        name: str,
        version: str,
        files: Mapping[str, Path],
        fields: Mapping[str, Any],
        by: str | None,
        reason: str,
    ) -> ModelInfo:
        layout = self._reader.layout
        target = layout.version(name, version)
        draft = draft_metadata(name, version, fields, files, self._transactions.now())
        if draft.reference_outputs:
            listed = draft.model_copy(update={"artifacts": dict.fromkeys(files, "")})
            self._check(listed, lambda artifact: files[artifact].read_bytes())
        self._make_model_folder(name)
        with self._transactions.exclusive(name):
            if target.exists():
                return self._accept_identical(draft, files)
            self._check_not_deleted(name, version)
            entry = self._transactions.entry(
                name,
                Action.REGISTERED,
                version,
                by=by,
                reason=reason,
                to_stage=ModelStage.NONE,
            )
            incoming = layout.incoming(name)
            try:
                make_folder(incoming)
                digests = {
                    artifact: atomic_io.copy_file(source, incoming / artifact)
                    for artifact, source in files.items()
                }
                registered = draft.model_copy(
                    update={
                        "artifacts": digests,
                        "created_at": entry.time,
                        "updated_at": entry.time,
                    }
                )
                where = f"{name}:{version}"
                check_offered(where, manifest(registered), registered.signatures)
                check_signed(registered, read_trusted_keys(layout))
                atomic_io.write_file(incoming / METADATA, metadata.dump(registered))
                self._transactions.apply(
                    name, entry, lambda: atomic_io.publish_folder(incoming, target)
                )
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
        return ModelInfo(metadata=registered, path=target)

    def update_metrics(
        self,
        name: str,
        version: str,
        metrics: Mapping[str, float],
        by: str | None = None,
        reason: str = "",
    ) -> None:
        """Add metrics to a version; a metric of the same name is replaced."""

        def changes(present: ModelMetadata) -> dict[str, Any]:
            return {"metrics": {**present.metrics, **metrics}}

        self._update(name, version, Action.METRICS_UPDATED, changes, by, reason)

    def sign(
        self,
        name: str,
        version: str,
        signatures: Mapping[str, str],
        derived_signatures: Mapping[str, str],
        by: str | None = None,
        reason: str = "",
    ) -> None:
        """Add signatures to a version; one by the same key is replaced."""

        def changes(present: ModelMetadata) -> dict[str, Any]:
            where = f"{name}:{version}"
            check_offered(where, manifest(present), signatures)
            check_offered(where, manifest(present, derived=True), derived_signatures)
            return {
                "signatures": {**present.signatures, **signatures},
                "derived_signatures": {**present.derived_signatures, **derived_signatures},
            }

        self._update(name, version, Action.SIGNED, changes, by, reason)

    def accept_feature_set(
        self,
        name: str,
        version: str,
        feature_set: FeatureSetRecord,
        signatures: Mapping[str, str],
        derived_signatures: Mapping[str, str],
        by: str | None = None,
        reason: str = "",
    ) -> None:
        """Replace the feature set of a version, and with it the signatures; see RegistryApi."""

        def changes(present: ModelMetadata) -> dict[str, Any]:
            where = f"{name}:{version}"
            changed = metadata.update(
                present,
                feature_set=feature_set,
                signatures=dict(signatures),
                derived_signatures=dict(derived_signatures),
            )
            check_offered(where, manifest(changed), signatures)
            check_offered(where, manifest(changed, derived=True), derived_signatures)
            check_signed(changed, read_trusted_keys(self._reader.layout))
            return {
                "feature_set": changed.feature_set,
                "signatures": changed.signatures,
                "derived_signatures": changed.derived_signatures,
            }

        self._update(name, version, Action.ACCEPTED, changes, by, reason)

    def delete(self, name: str, version: str, by: str | None = None, reason: str = "") -> None:
        """Remove a version that is in no stage, with its files; its number cannot be reused."""
        with self._transactions.exclusive(name):
            info = self._reader.get(name, version)
            held = self._reader.expected_stage(info.metadata)
            if held in STAGE_LINKS:
                raise StageHeldError(name, version, held, "delete")
            entry = self._transactions.entry(
                name,
                Action.DELETED,
                version,
                by=by,
                reason=reason,
                from_stage=info.metadata.stage,
            )
            removed = self._reader.layout.deleted(name, version)
            self._transactions.apply(
                name, entry, lambda: atomic_io.publish_folder(info.path, removed)
            )

    def _update(
        self,
        name: str,
        version: str,
        action: Action,
        changes: Callable[[ModelMetadata], Mapping[str, Any]],
        by: str | None,
        reason: str,
    ) -> None:
        """Replace the fields that `changes` returns, given the present metadata."""
        with self._transactions.exclusive(name):
            present = self._reader.get(name, version).metadata
            changed = changes(present)
            entry = self._transactions.entry(
                name,
                action,
                version,
                by=by,
                reason=reason,
                from_stage=present.stage,
                to_stage=present.stage,
            )
            updated = metadata.update(present, **changed, updated_at=entry.time)
            self._transactions.apply(name, entry, lambda: self._reader.files.write(updated))

    def _make_model_folder(self, name: str) -> None:
        layout = self._reader.layout
        try:
            layout.root.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                make_folder(layout.model(name))
        except OSError as error:
            raise StorageError.of(layout.root, error) from error

    def _check_not_deleted(self, name: str, version: str) -> None:
        for entry in self._reader.history(name):
            if entry.version == version and entry.action is Action.DELETED:
                raise DeletedVersionError(name, version, entry.time.isoformat(), entry.by)

    def _accept_identical(self, offered: ModelMetadata, files: Mapping[str, Path]) -> ModelInfo:
        """Return the published version if the offered one is identical, else raise."""
        published = self._reader.get(offered.name, offered.version)
        digests = {artifact: atomic_io.sha256_of(source) for artifact, source in files.items()}
        added = {
            artifact
            for entry in self._reader.history(offered.name)
            if entry.version == offered.version
            for artifact in entry.added
        }
        registered = {
            artifact: digest
            for artifact, digest in published.metadata.artifacts.items()
            if artifact not in added or artifact in digests
        }
        check_identical(offered, digests, published.metadata, registered)
        for artifact in files:
            # Raises if the published file is damaged.
            self._reader.read_artifact(offered.name, offered.version, artifact)
        kept = [
            field
            for field in ("description", "metrics", "tags")
            if getattr(offered, field) != getattr(published.metadata, field)
        ]
        logger.warning(
            "%s:%s is already registered with identical content: nothing to do%s",
            offered.name,
            offered.version,
            f"; its {', '.join(kept)} stay unchanged, see update_metrics" if kept else "",
        )
        return published
