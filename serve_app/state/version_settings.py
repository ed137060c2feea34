"""The settings that a version is loaded with, from what the configuration declares. Pure."""

from collections.abc import Collection

from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.settings import AppSettings, VersionSettings


def settings_for(
    settings: AppSettings, metadata: ModelMetadata, stages: Collection[str]
) -> VersionSettings:
    """Return a version's settings: those of its number, else of its stage, else of its model.

    Settings of another version of the model apply with one replica.

    Args:
        settings: the application's.
        metadata: the version's.
        stages: names of the stages that the version has, or is about to have.
    """
    declared = {
        declaration.version: declaration
        for declaration in settings.versions
        if declaration.model == metadata.name
    }
    for reference in (metadata.version, *(stage for stage in STAGE_NAMES if stage in stages)):
        if reference in declared:
            return numbered(declared[reference], metadata)
    for pattern in (declared.get("production"), *declared.values()):
        if pattern is not None:
            one_replica = {"num_replicas": None, "autoscaling": None}
            return numbered(pattern.model_copy(update=one_replica), metadata)
    return VersionSettings(model=metadata.name, version=metadata.version)


def numbered(settings: VersionSettings, metadata: ModelMetadata) -> VersionSettings:
    """Return the settings with the version's number in place of the stage that declared it.

    A version that moves between stages with equal settings therefore keeps its replicas.
    """
    return settings.model_copy(update={"version": metadata.version})
