"""The first state of a fleet: the stored one, unless the configuration has been edited."""

import logging

from registry.errors import RegistryError
from serve_app.control_plane.ports import Catalogue
from serve_app.control_plane.resolution import resolve
from serve_app.settings import AppSettings
from serve_app.state.serving import ServingState
from serve_app.state.transitions import declare, forget, restart
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)


async def first_state(
    before: ServingState | None, settings: AppSettings, catalogue: Catalogue
) -> ServingState:
    """Return the initial state.

    An unedited configuration changes nothing: later reloads stay in effect, after a crash and after
    a restart of the whole cluster. References are resolved here rather than when the file is read,
    since a reload may have completed in between.

    Raises:
        SettingsError, RegistryError: nothing that the configuration declares can be served.
    """
    if before is None:
        return declare(None, await resolve(settings, catalogue))
    kept = forget(before, await _unregistered(before, catalogue))
    if kept.settings != settings:
        return declare(kept, await resolve(settings, catalogue))
    if kept != before:
        return restart(kept, await resolve(settings, catalogue))
    await _log_drift(before, catalogue)
    return before


async def _unregistered(state: ServingState, catalogue: Catalogue) -> set[VersionRef]:
    """Return the served versions that the registry has lost, so that they cannot be loaded."""
    lost = set()
    for version in state.versions:
        try:
            await catalogue.find(version.metadata.name, version.metadata.version)
        except RegistryError as error:
            logger.error("%s was served and cannot be loaded again: %s", version.ref, error)  # noqa: TRY400
            lost.add(version.ref)
    return lost


async def _log_drift(state: ServingState, catalogue: Catalogue) -> None:
    """Log the stages that have another version in the registry than the one that is served."""
    for model, targets in state.targets.items():
        for stage, version in targets.items():
            try:
                holder = await catalogue.find(model, stage)
            except RegistryError as error:
                logger.error("%s: the registry's %s: %s", model, stage, error)  # noqa: TRY400
                continue
            if holder is not None and holder.version != version:
                logger.warning(
                    "%s: %s is served as %s, the registry has %s; a reload follows it",
                    model,
                    version,
                    stage,
                    holder.version,
                )
