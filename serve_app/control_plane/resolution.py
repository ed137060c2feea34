"""Resolves references, the stages and numbers of a configuration, to registered versions."""

import logging

from registry.errors import (
    FeatureSetMismatchError,
    InvalidMetadataError,
    InvalidNameError,
    RegistryError,
    UnknownModelError,
    UnknownVersionError,
    UnreadablePathError,
    UnsafePathError,
)
from registry.records import STAGE_NAMES, ModelMetadata, check_has_reference
from serve_app.control_plane.ports import Catalogue
from serve_app.errors import NotRegisteredError, SettingsError, UnusableVersionError
from serve_app.settings import AppSettings, VersionSettings
from serve_app.state.serving import Declaration, ServedVersion, ServingState, Stages
from serve_app.state.version_settings import numbered
from serve_app.versions import VersionRef

UNSERVABLE = (
    FeatureSetMismatchError,
    InvalidMetadataError,
    UnreadablePathError,
    UnsafePathError,
)
"""The errors of a version that is registered and cannot be read, or lacks its feature set."""

logger = logging.getLogger(__name__)


async def resolve(settings: AppSettings, catalogue: Catalogue) -> Declaration:
    """Return the version that each declaration denotes; one that is declared twice is served once.

    A stage without a version is left out with a warning. So is, with an error, a version that is
    damaged, that this user may not read, or whose feature set is not installed: it must not keep
    the others from being served.

    Raises:
        SettingsError: nothing is left to serve.
        RegistryError: nothing is left to serve, since every declared version is left out.
        UnknownModelError, UnknownVersionError: a declared version is not registered.
        MissingReferenceError: a version has no reference outputs, and the settings require them.
    """
    chosen: dict[VersionRef, ServedVersion] = {}
    stages: Stages = {}
    left_out: list[RegistryError] = []
    for declared in settings.versions:
        try:
            metadata = await _find_declared(declared, catalogue)
        except UNSERVABLE as error:
            left_out.append(error)
            logger.error("%s:%s is left out: %s", declared.model, declared.version, error)  # noqa: TRY400
            continue
        if metadata is None:
            continue
        if settings.require_reference_outputs:
            check_has_reference(metadata)
        if declared.version in STAGE_NAMES:
            stages.setdefault(declared.model, {})[declared.version] = metadata.version
        ref = VersionRef.of(metadata)
        if ref in chosen:
            logger.warning("%s is declared twice: the settings of the first are used", ref)
        else:
            chosen[ref] = ServedVersion(metadata=metadata, settings=numbered(declared, metadata))
    if not chosen and left_out:
        raise left_out[0]
    if not chosen:
        references = ", ".join(
            f"{declared.model}:{declared.version}" for declared in settings.versions
        )
        raise SettingsError("versions", f"none of {references} is in the registry; promote one")
    for served in chosen.values():
        # A version that is declared by its number also serves the stage that it has.
        for stage, meaning in STAGE_NAMES.items():
            if served.metadata.stage is meaning:
                stages.setdefault(served.metadata.name, {})[stage] = served.metadata.version
    return Declaration(settings=settings, versions=tuple(chosen.values()), stages=stages)


async def find_version(catalogue: Catalogue, model: str, reference: str) -> ModelMetadata:
    """Return a registered version.

    Raises:
        NotRegisteredError: there is no such model or version, or none in that stage.
        UnusableVersionError: its metadata is damaged, or its feature set is not installed.
    """
    try:
        metadata = await catalogue.find(model, reference)
    except (UnknownModelError, UnknownVersionError, InvalidNameError) as error:
        raise NotRegisteredError(model, reference, str(error)) from error
    except RegistryError as error:
        raise UnusableVersionError(model, reference, str(error)) from error
    if metadata is None:
        raise NotRegisteredError(model, reference, f"{model} has no {reference} version")
    return metadata


async def registered_stages(
    catalogue: Catalogue, state: ServingState, model: str
) -> dict[str, ModelMetadata]:
    """Return the registry's version of each stage; the currently served one if it is damaged."""
    holders = {}
    for stage in STAGE_NAMES:
        try:
            holder = await catalogue.find(model, stage)
        except RegistryError as error:
            logger.error("%s: %s stays as it is: %s", model, stage, error)  # noqa: TRY400
            number = state.targets.get(model, {}).get(stage)
            present = None if number is None else state.find(VersionRef(model, number))
            holder = None if present is None else present.metadata
        if holder is not None:
            holders[stage] = holder
    return holders


async def _find_declared(declared: VersionSettings, catalogue: Catalogue) -> ModelMetadata | None:
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
