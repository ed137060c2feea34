"""The served versions and their readiness: the model list and the health of this router."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from registry.records import ModelMetadata, ModelStage
from serve_app.data_plane.dependencies import Dependencies
from serve_app.data_plane.routes import Routes
from serve_app.errors import NotServedError
from serve_app.versions import VersionRef


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One version behind this server."""

    metadata: ModelMetadata
    stage: ModelStage
    """The stage that the version holds on this server."""
    loaded: bool
    """Whether the version can compute predictions."""
    pending: bool = False
    """Whether its previous settings or artifact serve until the changed ones are loaded."""
    problem: str | None = None
    """Why it was not loaded the last time."""


class Health(StrEnum):
    """The readiness of a router."""

    HEALTHY = "healthy"
    """Every pinned version is loaded (those of stages, the configuration and experiments), and no
    component has a problem."""
    DEGRADED = "degraded"
    """A pinned version is not loaded with its present settings or a component has a problem, but
    requests that name no
    version are still served, or the server has no version for them while it serves others."""
    UNHEALTHY = "unhealthy"
    """Requests that name no version cannot be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The readiness of a router at one moment."""

    health: Health
    time: datetime
    loaded: Sequence[VersionRef]
    experiments: Sequence[str]
    """The ids of the running experiments, sorted."""
    uptime_s: float
    problems: Mapping[str, str]
    """What is wrong, by component: a version is named `model:version`."""


class StatusService:
    """Reports the versions behind this router.

    Args:
        routes: the versions and their backends.
        dependencies: the other components.
        now: returns the time of a report.
        clock: returns monotonic seconds, for the uptime.
    """

    def __init__(
        self,
        routes: Routes,
        dependencies: Dependencies,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes = routes
        self._dependencies = dependencies
        self._now = now
        self._clock = clock
        self._started_s = clock()

    def largest_window_bytes(self) -> int:
        """Return the size of the largest window of a served version, as float32."""
        return 4 * self._routes.table.largest_window

    def models(self) -> Sequence[ModelStatus]:
        """Return every version behind this server."""
        table = self._routes.table
        return [
            ModelStatus(
                metadata,
                table.stage_of(metadata),
                self._routes.is_loaded(ref),
                ref in table.pending,
                table.problems.get(ref),
            )
            for metadata, ref in zip(table.versions, table.refs, strict=True)
        ]

    def health(self) -> HealthReport:
        """Return the readiness of this router."""
        table = self._routes.table
        loaded = [version for version in table.refs if self._routes.is_loaded(version)]
        failed = table.problems.keys() & table.pinned
        faulty = sorted(failed.union(table.pinned.difference(loaded)))
        problems = {
            **{str(ref): table.problems.get(ref, "no replica responds") for ref in faulty},
            **self._dependencies.problems,
        }
        return HealthReport(
            health=self._health(loaded, has_problems=bool(problems)),
            time=self._now(),
            loaded=loaded,
            experiments=sorted(running.experiment_id for running in table.experiments.values()),
            uptime_s=self._clock() - self._started_s,
            problems=problems,
        )

    def _health(self, loaded: Sequence[VersionRef], *, has_problems: bool) -> Health:
        table = self._routes.table
        if loaded and not has_problems:
            return Health.HEALTHY
        try:
            default = VersionRef.of(table.choose(None, None))
        except NotServedError:
            return Health.DEGRADED if loaded else Health.UNHEALTHY
        return Health.DEGRADED if default in loaded else Health.UNHEALTHY
