"""Changes of a published version's artifacts: additions and the choice of the serving artifact.

Published content is immutable: an artifact is added under a new name, with its sha256, and never
changed. Files are copied to temporary names and renamed; they become part of the version when the
metadata that lists them is renamed into place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.errors import (
    InvalidMetadataError,
    InvalidNameError,
    MissingArtifactError,
    VersionExistsError,
)
from registry.folder import atomic_io, metadata
from registry.folder.reader import FolderReader
from registry.folder.source_files import checked_sources
from registry.folder.stage_changes import Check
from registry.folder.transactions import Transactions
from registry.folder.trusted_keys import read_trusted_keys
from registry.predictors import choose_artifact, is_runnable
from registry.records import Action, ModelInfo, ModelMetadata
from registry.reference_outputs import ARTIFACT, recorded_meanings
from registry.signatures import check_offered, check_signed, derived_from, manifest


class ArtifactChanges:
    """Adds artifacts to published versions and selects the artifact that serves.

    Every change takes `by` (its author; the process's user and host if None) and `reason` for the
    history.
    """

    def __init__(self, reader: FolderReader, transactions: Transactions, check: Check) -> None:
        self._reader, self._transactions, self._check = reader, transactions, check

    def add(
        self,
        name: str,
        version: str,
        files: Mapping[str, Path],
        optimization: Mapping[str, Any],
        serving_artifact: str | None,
        by: str | None = None,
        reason: str = "",
        derived_signatures: Mapping[str, str] | None = None,
    ) -> ModelInfo:
        """Add `files` (source by artifact name) with their evidence; see RegistryApi."""
        with checked_sources(files, "add") as sources:
            signatures = dict(derived_signatures or {})
            return self._add(
                name, version, sources, optimization, serving_artifact, by, reason, signatures
            )

    def _add(
        self,
        name: str,
        version: str,
        files: Mapping[str, Path],
        optimization: Mapping[str, Any],
        serving_artifact: str | None,
        by: str | None,
        reason: str,
        signatures: Mapping[str, str],
    ) -> ModelInfo:
        self._check_servable(name, version, files, serving_artifact, signatures, optimization)
        with self._transactions.exclusive(name):
            info = self._reader.get(name, version)
            present = info.metadata
            new = self._new_artifacts(info, files)
            entry = self._transactions.entry(
                name,
                Action.OPTIMIZED,
                version,
                by=by,
                reason=reason,
                from_stage=present.stage,
                to_stage=present.stage,
                added=tuple(new),
                serves=serving_artifact,
            )
            copies = {artifact: self._reader.layout.added(name, version) for artifact in new}
            try:
                digests = {
                    artifact: atomic_io.copy_file(files[artifact], copy)
                    for artifact, copy in copies.items()
                }
                added_bytes = sum(copy.stat().st_size for copy in copies.values())
                updated = metadata.update(
                    present,
                    artifacts={**present.artifacts, **digests},
                    model_size_mb=present.model_size_mb + added_bytes / metadata.BYTES_PER_MB,
                    derived=derived_from(present, digests),
                    derived_signatures=dict(signatures)
                    or (present.derived_signatures if not digests else {}),
                    optimization=dict(optimization),
                    serving_artifact=serving_artifact,
                    reference_outputs=_reference_outputs(present, files),
                    updated_at=entry.time,
                )

                def commit() -> None:
                    for artifact, copy in copies.items():
                        copy.rename(info.artifact_path(artifact))
                    atomic_io.flush_folder(info.path)
                    self._reader.files.write(updated)

                self._transactions.apply(name, entry, commit)
            finally:
                for copy in copies.values():
                    copy.unlink(missing_ok=True)
        return ModelInfo(metadata=updated, path=info.path)

    def pin(
        self,
        name: str,
        version: str,
        artifact: str | None,
        by: str | None = None,
        reason: str = "",
    ) -> None:
        """Select the artifact that serves; see RegistryApi."""
        self._check_servable(name, version, {}, artifact, None, None)
        with self._transactions.exclusive(name):
            present = self._reader.get(name, version).metadata
            if present.serving_artifact == artifact:
                return
            entry = self._transactions.entry(
                name,
                Action.PINNED,
                version,
                by=by,
                reason=reason,
                from_stage=present.stage,
                to_stage=present.stage,
                serves=artifact,
            )
            updated = metadata.update(present, serving_artifact=artifact, updated_at=entry.time)
            self._transactions.apply(name, entry, lambda: self._reader.files.write(updated))

    def _check_servable(
        self,
        name: str,
        version: str,
        files: Mapping[str, Path],
        artifact: str | None,
        signatures: Mapping[str, str] | None,
        optimization: Mapping[str, Any] | None,
    ) -> None:
        """Check the signatures, then load and run the artifact that is to serve.

        `files` are those to be added; None keeps the signatures of the derived artifacts.
        """
        info = self._reader.get(name, version)
        added = {
            name: atomic_io.sha256_of(path)
            for name, path in files.items()
            if name not in info.metadata.artifacts
        }
        known = {**info.metadata.artifacts, **added}
        if artifact is not None and artifact not in known:
            expected = f"one of the version's artifacts: {', '.join(known)}"
            raise MissingArtifactError(info.path / str(artifact), expected)
        if artifact is not None and not is_runnable(artifact):
            expected = "an artifact that can serve: model.pt or a *.onnx"
            raise InvalidNameError("serving artifact", artifact, expected)
        wanted = metadata.update(
            info.metadata,
            artifacts=known,
            serving_artifact=artifact,
            derived=derived_from(info.metadata, added),
            derived_signatures=signatures or info.metadata.derived_signatures,
            reference_outputs=_reference_outputs(info.metadata, files),
            **({} if optimization is None else {"optimization": dict(optimization)}),
        )
        if signatures:
            check_offered(f"{name}:{version}", manifest(wanted, derived=True), signatures)
        check_signed(wanted, read_trusted_keys(self._reader.layout), choose_artifact(wanted))

        def read(wanted_artifact: str) -> bytes:
            if wanted_artifact in files and wanted_artifact not in info.metadata.artifacts:
                return files[wanted_artifact].read_bytes()
            return self._reader.read_artifact(name, version, wanted_artifact)

        self._check(wanted, read)

    def _new_artifacts(self, info: ModelInfo, files: Mapping[str, Path]) -> list[str]:
        """Return the files that are not published yet; those that are must be identical."""
        new = []
        for artifact, source in files.items():
            published = info.metadata.artifacts.get(artifact)
            if published is None:
                _check_target_free(info.artifact_path(artifact), source)
                new.append(artifact)
            elif atomic_io.sha256_of(source) != published:
                raise VersionExistsError(
                    info.metadata.name,
                    info.metadata.version,
                    f"{artifact} sha256 {published}",
                    f"{artifact} sha256 {atomic_io.sha256_of(source)}",
                )
        return new


def _reference_outputs(present: ModelMetadata, files: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the meanings of the reference outputs once `files` are added to a version."""
    if ARTIFACT in files:
        return recorded_meanings(files[ARTIFACT])
    return present.reference_outputs


def _check_target_free(target: Path, source: Path) -> None:
    """Raise if `target` is taken by a file that the registry does not know.

    A file with the content of `source` is left over from an interrupted addition: it is replaced.
    """
    if not target.is_symlink():
        if not target.exists():
            return
        if target.is_file() and atomic_io.sha256_of(target) == atomic_io.sha256_of(source):
            return
    problem = f"an unknown file is at {target}; move it out of the registry"
    raise InvalidMetadataError(target.name, problem)
