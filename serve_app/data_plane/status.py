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


class Health(StrEnum):
    """The readiness of a router."""

    HEALTHY = "healthy"
    """Every pinned version is loaded (those of stages, the configuration and experiments), and no
    component has a problem."""
    DEGRADED = "degraded"
    """A pinned version is not loaded or a component has a problem, but requests that name no
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
                metadata, table.stage_of(metadata), self._routes.is_loaded(VersionRef.of(metadata))
            )
            for metadata in table.versions
        ]

    def health(self) -> HealthReport:
        """Return the readiness of this router."""
        table = self._routes.table
        loaded = [version for version in table.refs if self._routes.is_loaded(version)]
        missing = sorted(str(version) for version in table.pinned.difference(loaded))
        problems = {
            **dict.fromkeys(missing, "no replica responds"),
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
