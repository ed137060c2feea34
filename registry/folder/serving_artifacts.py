"""Which of a version's artifacts serves, and artifacts that join a published version.

What is published stays: an artifact is added under a name of its own, with its sha256, and never
changed. Files are copied beside, renamed, and count once the metadata that lists them is renamed
into place.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from registry.errors import (
    InvalidMetadataError,
    InvalidNameError,
    MissingArtifactError,
    VersionExistsError,
)
from registry.folder import atomic_io
from registry.folder.drafts import BYTES_PER_MB, refuse_unwritable
from registry.folder.pickles import refuse_code
from registry.folder.reader import sentence
from registry.folder.writer import RegistryWriter
from registry.predictors import is_runnable
from registry.records import Action, ModelInfo, ModelMetadata, check_artifact_name


class ServingWriter(RegistryWriter):
    """A registry folder in which versions also get optimised artifacts; see RegistryWriter."""

    def add_artifacts(
        self,
        name: str,
        version: str,
        files: Mapping[str, Path],
        optimization: Mapping[str, Any],
        serving_artifact: str | None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Let files join a version, with the evidence of what they are; see ModelRegistry."""
        for artifact, source in files.items():
            check_artifact_name(artifact)
            if not source.is_file():
                raise MissingArtifactError(source, f"the file to add as {artifact}")
            refuse_code(source)
        self._refuse_unservable(name, version, {**files}, serving_artifact)
        with self._writing(name):
            info = self.get(name, version)
            new = self._refuse_changed(info, files)
            stage = info.metadata.stage
            entry = self._entry(
                name, Action.OPTIMIZED, version, by, reason, stage, stage
            ).model_copy(update={"added": tuple(new), "serves": serving_artifact})
            beside = {artifact: self.layout.added(name, version) for artifact in new}
            try:
                digests = {
                    artifact: atomic_io.copy_file(files[artifact], path)
                    for artifact, path in beside.items()
                }
                added_mb = sum(each.stat().st_size for each in beside.values()) / BYTES_PER_MB
                metadata = _updated(
                    info.metadata,
                    artifacts={**info.metadata.artifacts, **digests},
                    model_size_mb=info.metadata.model_size_mb + added_mb,
                    optimization=dict(optimization),
                    serving_artifact=serving_artifact,
                    updated_at=entry.time,
                )

                def commit() -> None:
                    for artifact, path in beside.items():
                        path.rename(info.artifact_path(artifact))
                    atomic_io.flush_folder(info.path)
                    self._write_metadata(metadata)

                self._change(name, entry, commit)
            finally:
                for path in beside.values():
                    path.unlink(missing_ok=True)
        return ModelInfo(metadata=metadata, path=info.path)

    def pin_artifact(
        self,
        name: str,
        version: str,
        artifact: str | None,
        by: str | None = None,
        reason: str = "",
    ) -> None:
        """Choose the artifact that a version is served from; see ModelRegistry."""
        self._refuse_unservable(name, version, {}, artifact)
        with self._writing(name):
            metadata = self.get(name, version).metadata
            if metadata.serving_artifact == artifact:
                return
            stage = metadata.stage
            entry = self._entry(name, Action.PINNED, version, by, reason, stage, stage)
            entry = entry.model_copy(update={"serves": artifact})
            changed = _updated(metadata, serving_artifact=artifact, updated_at=entry.time)
            self._change(name, entry, lambda: self._write_metadata(changed))

    def _refuse_unservable(
        self, name: str, version: str, files: Mapping[str, Path], artifact: str | None
    ) -> None:
        """Load and run what is to serve; `files` are those that are not published yet."""
        info = self.get(name, version)
        known = {**info.metadata.artifacts, **dict.fromkeys(files, "")}
        if artifact is not None and artifact not in known:
            expected = f"one of the version's artifacts: {', '.join(known)}"
            raise MissingArtifactError(info.path / str(artifact), expected)
        if artifact is not None and not is_runnable(artifact):
            expected = "an artifact that can serve: model.pt or a *.onnx"
            raise InvalidNameError("serving artifact", artifact, expected)
        wanted = _updated(info.metadata, artifacts=known, serving_artifact=artifact)

        def read(each: str) -> bytes:
            if each in files and each not in info.metadata.artifacts:
                return files[each].read_bytes()
            return self.read_artifact(name, version, each)

        check: Callable[[ModelMetadata, Callable[[str], bytes]], None] = self._check
        check(wanted, read)

    def _refuse_changed(self, info: ModelInfo, files: Mapping[str, Path]) -> list[str]:
        """Return those of the files that are new; published ones must be what they were."""
        new = []
        for artifact, source in files.items():
            published = info.metadata.artifacts.get(artifact)
            if published is None:
                stranger = info.artifact_path(artifact)
                # The same content is left of an addition that was cut short: it is replaced.
                if stranger.is_symlink() or (
                    stranger.exists()
                    and not (
                        stranger.is_file()
                        and atomic_io.sha256_of(stranger) == atomic_io.sha256_of(source)
                    )
                ):
                    problem = (
                        f"{stranger} is in the way, a file that the registry does not know; "
                        f"move it out of the registry"
                    )
                    raise InvalidMetadataError(artifact, problem)
                new.append(artifact)
            elif atomic_io.sha256_of(source) != published:
                raise VersionExistsError(
                    info.metadata.name,
                    info.metadata.version,
                    f"{artifact} sha256 {published}",
                    f"{artifact} sha256 {atomic_io.sha256_of(source)}",
                )
        return new


def _updated(metadata: ModelMetadata, **changes: object) -> ModelMetadata:
    try:
        updated = ModelMetadata.model_validate({**metadata.model_dump(), **changes})
    except ValidationError as error:
        where = f"{metadata.name}:{metadata.version}"
        raise InvalidMetadataError(where, sentence(error)) from error
    refuse_unwritable(updated)
    return updated
