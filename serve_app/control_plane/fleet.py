"""The commands on the versions of one application: reload, load, split traffic."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager

from registry.records import ModelMetadata
from serve_app.control_plane.confirmation import RouterConfirmation
from serve_app.control_plane.holds import Holds
from serve_app.control_plane.observation import Observation
from serve_app.control_plane.on_demand import OnDemandLoads
from serve_app.control_plane.ports import Catalogue, Launcher, Routers, StateStore
from serve_app.control_plane.reconciler import Reconciler
from serve_app.control_plane.reloads import ReloadResult
from serve_app.control_plane.resolution import find_version, registered_stages
from serve_app.control_plane.startup import first_state
from serve_app.control_plane.state_writer import StateWriter
from serve_app.control_plane.version_loading import LOADING_PERIOD_S, VersionLoading
from serve_app.errors import FleetUnavailableError, ReloadInProgressError
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import AppSettings
from serve_app.state.serving import ServingState
from serve_app.state.transitions import follow_registry, split_traffic
from serve_app.timeouts import TRAFFIC_MOVE_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

RECONCILE_PERIOD_S = 1.0

START_ATTEMPTS = 5


class Fleet:
    """Loads, moves traffic between, and unloads the versions of one application.

    Every change is stored before it takes effect, so that after a crash the next fleet continues
    from there.

    Args:
        store: keeps the serving state.
        catalogue: finds registered versions.
        launcher: starts and stops replicas.
        routers: follow the state and report what they reach.
        clock: returns seconds.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        store: StateStore,
        catalogue: Catalogue,
        launcher: Launcher,
        routers: Routers,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._catalogue, self._routers = store, catalogue, routers
        self._clock, self._sleep = clock, sleep
        self._reloading: dict[str, str] = {}
        self._holds = Holds()
        self._writer = StateWriter(store, routers)
        self._confirmation = RouterConfirmation(routers, clock, sleep)
        self._reconciler = Reconciler(self._writer, launcher, routers, self._holds, clock)
        self._loading = VersionLoading(
            catalogue, self._writer, self._reconciler, self._holds, clock, sleep
        )
        self._on_demand = OnDemandLoads(self._loading, self._writer, self._holds, clock)

    @property
    def state(self) -> ServingState:
        """Return the current serving state."""
        return self._writer.state

    @property
    def superseded(self) -> bool:
        """Return whether another fleet has taken over, so that this one must not act any more."""
        return self._writer.superseded

    async def start(self, settings: AppSettings) -> None:
        """Begin with the stored state, or with the configuration if it has been edited since.

        Raises:
            SettingsError, RegistryError: nothing that the configuration declares can be served.
        """
        for _attempt in range(START_ATTEMPTS):
            before = await self._store.read()
            state = await first_state(before, settings, self._catalogue)
            if await self._writer.begin(state, before):
                return
        raise FleetUnavailableError("another writer keeps changing the serving state")

    async def reconcile_forever(self) -> None:
        """Reconcile once per period until another fleet takes over."""
        while not self.superseded:
            try:
                await self.reconcile()
            except FleetUnavailableError as error:
                logger.warning("reconciliation interrupted: %s", error.problem)
            except Exception:
                # The loop survives any error: without it nothing more would be loaded.
                logger.exception("reconciliation failed")
            await self._sleep(RECONCILE_PERIOD_S)

    async def reconcile(self) -> Observation:
        """Take every step towards the serving state that can be taken now.

        Raises:
            FleetUnavailableError: another fleet has taken over; this one changes nothing.
        """
        return await self._reconciler.reconcile()

    async def reload(
        self, model: str, reference: str | None, by: str = "the server"
    ) -> ReloadResult:
        """Load a version, then let the model's stages follow the registry.

        Args:
            model: its name.
            reference: a version or a stage's name; production if None.
            by: the caller, for the log.

        Raises:
            NotRegisteredError: the registry has no such model or version.
            ReloadInProgressError: the model is being reloaded.
            UnusableVersionError: the version does not load; nothing has changed.
            FleetUnavailableError: another fleet has taken over, or it took too long.
            UnconfirmedStateError: the traffic moves, and a router does not follow yet.
        """
        if model in self._reloading:
            raise ReloadInProgressError(model, self._reloading[model])
        self._reloading[model] = reference or "production"
        logger.info("%s: reload of %s by %s", model, self._reloading[model], by)
        try:
            metadata = await self.find(model, reference or "production")
            await self._load_and_move(metadata)
            return ReloadResult(VersionRef.of(metadata), dict(self.state.stages.get(model, {})))
        finally:
            del self._reloading[model]

    async def request(self, model: str, version: str) -> None:
        """Start to load a version that a request named, unless it is being loaded already.

        Raises:
            NotRegisteredError: the registry has no such model or version.
            TooManyVersionsError: there is no room for it.
            UnusableVersionError: it failed to load a short time ago.
        """
        self._on_demand.begin(await self.find(model, version))

    async def find(self, model: str, reference: str) -> ModelMetadata:
        """Return a registered version; see `find_version`."""
        return await find_version(self._catalogue, model, reference)

    async def load(self, metadata: ModelMetadata) -> None:
        """Return once a version is loaded; one that is served already keeps its settings.

        Raises:
            UnusableVersionError: it does not load; nothing has changed.
            FleetUnavailableError: it took too long.
        """
        ref, deadline_s = VersionRef.of(metadata), self._loading.deadline_s()
        await self._on_demand.wait_for(ref, deadline_s - self._clock())
        with self.holding(ref):
            if self.state.find(ref) is None:
                await self._loading.load(metadata, (), deadline_s)
            else:
                await self._loading.wait_until_loaded(metadata, deadline_s)

    def holding(self, *refs: VersionRef) -> AbstractContextManager[None]:
        """Keep these versions from being unloaded as idle while the context lasts."""
        return self._holds.holding(*refs)

    def loads(self) -> Collection["asyncio.Task[None]"]:
        """Return the loads on demand that are in progress."""
        return self._on_demand.in_progress()

    async def split_traffic(self, running: Sequence[RunningExperiment]) -> None:
        """Split traffic by exactly these experiments, whose variants are loaded."""
        await self._writer.change(lambda state: split_traffic(state, running))

    async def confirm(self) -> None:
        """Return once every router follows the current state or a newer one.

        Raises:
            UnconfirmedStateError: a router does not follow in time.
        """
        await self._confirmation.wait(self.state)

    async def is_tripped(self, experiment_id: str) -> bool:
        """Return whether a router withholds traffic from treatment, or none reports."""
        reports = await self._routers.reports()
        return not reports or any(experiment_id in report.tripped for report in reports)

    async def _load_and_move(self, metadata: ModelMetadata) -> None:
        model, ref = metadata.name, VersionRef.of(metadata)
        deadline_s = self._loading.deadline_s()
        stages = await registered_stages(self._catalogue, self.state, model)
        held = [stage for stage, holder in stages.items() if holder.version == metadata.version]
        await self._on_demand.wait_for(ref, deadline_s - self._clock())
        with self.holding(ref):
            await self._loading.load(metadata, held, deadline_s)
            # Read again: the registry may have changed while the version was loading.
            stages = await registered_stages(self._catalogue, self.state, model)
            await self._writer.change(lambda state: follow_registry(state, model, stages))
            await self._wait_until_moved(metadata)
            await self.confirm()

    async def _wait_until_moved(self, metadata: ModelMetadata) -> None:
        """Return once every stage that the version is to have points at it."""
        model, version = metadata.name, metadata.version
        deadline_s = self._clock() + TRAFFIC_MOVE_S
        while self._clock() < deadline_s:
            await self.reconcile()
            held, wanted = (held.get(model, {}) for held in (self.state.stages, self.state.targets))
            if all(held.get(stage) == to for stage, to in wanted.items() if to == version):
                return
            await self._sleep(LOADING_PERIOD_S)
        problem = f"{VersionRef.of(metadata)} is loaded, but a router does not reach it"
        raise FleetUnavailableError(problem)
