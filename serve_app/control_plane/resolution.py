"""From a configuration's references to the versions that they mean at this moment."""

import logging

from registry.errors import RegistryError
from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.control_plane.ports import Catalogue
from serve_app.errors import SettingsError
from serve_app.settings import AppSettings, VersionSettings
from serve_app.state.serving import Declaration, ServedVersion, Stages
from serve_app.state.version_settings import numbered
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)


async def resolve(settings: AppSettings, catalogue: Catalogue) -> Declaration:
    """Return the version that each declaration means; one declared twice serves once.

    A stage that no version holds is left out with a warning, and so is a staging version that is
    damaged: it must not keep production from being served.

    Raises:
        SettingsError: nothing is left to serve.
        RegistryError: a version that is declared by its number, or production, cannot be read.
    """
    chosen: dict[str, ServedVersion] = {}
    stages: Stages = {}
    for declared in settings.versions:
        metadata = await _find(declared, catalogue)
        if metadata is None:
            continue
        if declared.version in STAGE_NAMES:
            stages.setdefault(declared.model, {})[declared.version] = metadata.version
        key = str(VersionRef.of(metadata))
        if key in chosen:
            logger.warning("%s is declared twice: the settings of the first are used", key)
        else:
            chosen[key] = ServedVersion(metadata=metadata, settings=numbered(declared, metadata))
    if not chosen:
        references = ", ".join(f"{each.model}:{each.version}" for each in settings.versions)
        raise SettingsError("versions", f"none of {references} is in the registry; promote one")
    for served in chosen.values():
        # A version declared by its number answers for its stage too.
        for stage, meaning in STAGE_NAMES.items():
            if served.metadata.stage is meaning:
                stages.setdefault(served.metadata.name, {})[stage] = served.metadata.version
    return Declaration(settings=settings, versions=tuple(chosen.values()), stages=stages)


async def _find(declared: VersionSettings, catalogue: Catalogue) -> ModelMetadata | None:
    try:
        metadata = await catalogue.find(declared.model, declared.version)
    except RegistryError as error:
        if declared.version != "staging":
            raise
        logger.error("%s has no usable staging version: left out: %s", declared.model, error)  # noqa: TRY400
        return None
    if metadata is None:
        logger.warning("%s has no %s version: left out", declared.model, declared.version)
    return metadata
