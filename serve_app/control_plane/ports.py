"""What the fleet needs of the world: where its state is kept, the registry, Serve, the routers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from registry.records import ModelMetadata
from serve_app.state.reports import RouterReport
from serve_app.state.serving import ServedVersion, ServingState


class LaunchPhase(Enum):
    """How far a version's replicas are."""

    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    """They could not be started, and will not be again unless they are launched anew."""
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Launch:
    """A version's replicas as Serve sees them."""

    phase: LaunchPhase
    problem: str = ""


class Ledger(Protocol):
    """Keeps the state on the disk; one writer at a time."""

    async def read(self) -> ServingState | None:
        """Return what was written last, None where nothing was."""

    async def write(self, state: ServingState, replaces: int) -> bool:
        """Keep `state` if what is there has the revision `replaces` (0: nothing is)."""


class Catalogue(Protocol):
    """The registry, as far as serving asks it."""

    async def find(self, model: str, reference: str) -> ModelMetadata | None:
        """Return the version that `reference` means, None for a stage that no version holds.

        Raises:
            RegistryError: no such model or version.
        """

    async def try_out(self, metadata: ModelMetadata) -> None:
        """Load and run a version; RegistryError says why it does not serve."""


class Launcher(Protocol):
    """Starts and ends the replicas of versions, each version apart from the others."""

    async def launches(self) -> Mapping[str, Launch]:
        """Return what runs, by `model:version`."""

    async def launch(self, version: ServedVersion) -> None:
        """Start a version's replicas, or replace them one by one; do not wait for them."""

    async def end(self, key: str) -> None:
        """End a version's replicas once they have answered what they have; do not wait."""


@dataclass(frozen=True, slots=True)
class RouterReplicas:
    """The ids of the routers that may receive requests, as Serve lists them."""

    serving: frozenset[str]
    stopping: frozenset[str] = frozenset()
    """Routers that are being replaced: the proxy is letting go of them, and broadcasts no longer
    reach them."""


class Routers(Protocol):
    """All routers of the application."""

    async def adopt(self, state: ServingState) -> None:
        """Let every router go by `state`; one that cannot be reached takes it by itself later."""

    async def reports(self) -> Sequence[RouterReport]:
        """Return every router's report; empty while one of them does not respond."""

    async def replicas(self) -> RouterReplicas:
        """Return which routers may receive requests now.

        Raises:
            FleetUnavailableError: Serve does not list them.
        """
