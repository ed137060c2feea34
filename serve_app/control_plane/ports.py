"""The protocols through which the control plane acts: stores, registry, Serve and routers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from registry.records import ModelMetadata
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.state.reports import RouterReport
from serve_app.state.serving import LaunchId, ServedVersion, ServingState


class LaunchPhase(Enum):
    """The phase of a version's replicas."""

    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    """They failed to start, and Serve does not retry; only another launch does."""
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Launch:
    """A version's replicas as Serve reports them."""

    phase: LaunchPhase
    problem: str = ""


class StateStore(Protocol):
    """The durable serving state, which has one writer at a time."""

    async def read(self) -> ServingState | None:
        """Return the state that was written last; None before the first write."""

    async def write(self, state: ServingState, replaces: int) -> bool:
        """Write `state` if the stored one has the revision `replaces` (0: there is none).

        Returns:
            Whether it was written; if not, another writer has taken over.
        """


class Catalogue(Protocol):
    """The registered versions."""

    async def find(self, model: str, reference: str) -> ModelMetadata | None:
        """Return the version that `reference` denotes; None for a stage without a version.

        Raises:
            RegistryError: there is no such model or version.
        """

    async def try_out(self, metadata: ModelMetadata) -> None:
        """Load and run a version once.

        Raises:
            RegistryError: the version cannot be served.
        """


class Launcher(Protocol):
    """Starts and stops the replicas of versions, each version independently of the others."""

    async def launches(self) -> Mapping[LaunchId, Launch]:
        """Return the current launches."""

    async def launch(self, version: ServedVersion) -> None:
        """Start a version's replicas, or replace them one by one; return before they are up."""

    async def end(self, launch_id: LaunchId) -> None:
        """Stop these replicas after their requests in flight; return before they are gone."""


@dataclass(frozen=True, slots=True)
class RouterReplicas:
    """The ids of the routers that may receive requests, as Serve lists them."""

    serving: frozenset[str]
    stopping: frozenset[str] = frozenset()
    """The routers that are being replaced: the proxy is removing them, and broadcasts no
    longer reach them."""


class Routers(Protocol):
    """All routers of the application."""

    async def adopt(self, state: ServingState) -> None:
        """Send every router the state; a router that the call misses reads it by itself."""

    async def reports(self) -> Sequence[RouterReport]:
        """Return every router's report; empty while one of them does not respond."""

    async def replicas(self) -> RouterReplicas:
        """Return which routers may receive requests now.

        Raises:
            FleetUnavailableError: Serve does not list them.
        """


class ExperimentStoreClient(Protocol):
    """The stored experiments; every method raises the leaves of ServingError."""

    async def create(
        self, definition: ExperimentDefinition, started_at: datetime, by: str, key: str
    ) -> bool:
        """Store a new, running experiment with its author and the key of its command.

        Returns False if the same command has stored it before and it still runs.
        """

    async def end(
        self, experiment_id: str, reason: EndReason, report: dict[str, Any], entry: HistoryEntry
    ) -> StoredExperiment:
        """End an experiment; if it has ended already, its first end is kept."""

    async def note(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Append an entry to an experiment's history."""

    async def experiment(self, experiment_id: str) -> StoredExperiment:
        """Return an experiment."""

    async def running(self) -> Sequence[StoredExperiment]:
        """Return the running experiments."""

    async def history(self, experiment_id: str) -> Sequence[HistoryEntry]:
        """Return an experiment's history, oldest entry first."""

    async def analyse(
        self,
        experiment: StoredExperiment,
        exposed_at: datetime,
        *,
        status: ExperimentStatus = ExperimentStatus.RUNNING,
        at_planned_end: bool = False,
    ) -> InterimAnalysis:
        """Analyse an experiment from everything that is stored about it."""
