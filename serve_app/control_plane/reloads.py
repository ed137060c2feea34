"""The command that loads a version at run time, as front ends see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from serve_app.versions import VersionRef


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The outcome of a reload."""

    version: VersionRef
    """The version that was loaded."""
    stages: Mapping[str, str]
    """The served version of the model by the name of its stage, after the reload."""


class Reloader(Protocol):
    """Loads versions for the whole application."""

    async def reload(
        self, model: str, reference: str | None, by: str, key: str | None = None
    ) -> ReloadResult:
        """Load a version, then let the model's stages follow the registry.

        Args:
            model: the name of the model.
            reference: a version or the name of a stage; None selects production.
            by: the caller, for the log.
            key: the same for every attempt of the caller's command, which is executed once; None
                if each call is a command of its own.

        Raises:
            NotRegisteredError: the registry has no such model or version.
            ReloadInProgressError: a reload of the model is in flight.
            UnusableVersionError: the version does not load; nothing was changed.
            FleetUnavailableError: the fleet did not respond in time.
        """
