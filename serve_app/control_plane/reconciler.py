"""Brings about what is to be served, step by step, and survives its own death at each of them."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from registry.errors import (
    InvalidNameError,
    RegistryError,
    UnknownModelError,
    UnknownVersionError,
)
from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.control_plane.confirmation import RouterConfirmation
from serve_app.control_plane.observation import Sight, idle, look, unwanted
from serve_app.control_plane.ports import (
    Catalogue,
    Launch,
    Launcher,
    LaunchPhase,
    Ledger,
    Routers,
)
from serve_app.control_plane.reloads import ReloadResult
from serve_app.control_plane.resolution import resolve
from serve_app.errors import (
    FleetUnavailableError,
    NotRegisteredError,
    ReloadInProgressError,
    TooManyVersionsError,
    UnusableVersionError,
)
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import AppSettings
from serve_app.state.reports import RouterReport
from serve_app.state.serving import ServedVersion, ServingState
from serve_app.state.transitions import (
    add,
    advance,
    declare,
    follow_registry,
    forget,
    mark_launched,
    restart,
    restore,
    retire,
    split_traffic,
)
from serve_app.state.version_settings import settings_for
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

TEND_PERIOD_S = 1.0
LOADING_PERIOD_S = 0.1
"""How often it is looked while somebody waits for a version."""

LOAD_TIMEOUT_S = 120.0
RETRY_S = 30.0
"""How long replicas that could not be started are left before they are launched anew."""

DRAIN_S = 2.0
"""How long replicas stay after every router let go of them, for the requests under way."""

LONGEST_DRAIN_S = 60.0
"""How long they stay while a router is not known to have let go."""

WRITE_ATTEMPTS = 5
SUPERSEDED = "a newer configuration is being put into effect"


class Fleet:
    """Loads, moves traffic between, and unloads the versions of one application.

    Every change is written down before it is made, so that a successor goes on where this one died.
    """

    def __init__(
        self,
        ledger: Ledger,
        catalogue: Catalogue,
        launcher: Launcher,
        routers: Routers,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger, self._catalogue = ledger, catalogue
        self._launcher, self._routers = launcher, routers
        self._clock, self._sleep = clock, sleep
        self._confirmation = RouterConfirmation(routers, clock, sleep)
        self._changing, self._tending = asyncio.Lock(), asyncio.Lock()
        self._reloading: dict[str, str] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._held: Counter[str] = Counter()
        self._launched_s: dict[str, float] = {}
        self._unwanted_since: dict[str, tuple[float, int]] = {}
        self._present: ServingState | None = None
        self.superseded = False
        """Whether another fleet writes now, so that this one has nothing more to say."""

    async def start(self, settings: AppSettings) -> None:
        """Go by what is written down, and by the configuration if it is another than the last.

        An unedited file changes nothing: what was reloaded since goes on, after a crash and after
        a restart of the whole cluster. References are resolved here and not when the file was
        read: a reload may have been answered in between.

        Raises:
            SettingsError, RegistryError: the configuration names nothing that can be served.
        """
        for _attempt in range(WRITE_ATTEMPTS):
            before = await self._ledger.read()
            state = await self._first_state(before, settings)
            if state == before or await self._ledger.write(state, before.revision if before else 0):
                self._present = state
                return
        raise FleetUnavailableError("something else keeps changing what is served")

    async def tend_for_ever(self) -> None:
        """Bring about what is to be, again and again, until another fleet takes over."""
        while not self.superseded:
            try:
                await self.tend()
            except FleetUnavailableError as error:
                logger.warning("%s", error)
            except Exception:
                # Whatever it is, the fleet goes on: without it nothing would be loaded any more.
                logger.exception("the fleet could not be tended")
            await self._sleep(TEND_PERIOD_S)

    async def reload(self, model: str, reference: str | None) -> ReloadResult:
        """Load a version, then let the model's stages follow the registry.

        Args:
            model: its name.
            reference: a version or a stage's name; production if None.

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
        try:
            metadata = await self.find(model, reference or "production")
            holders = await self._holders(model)
            stages = [name for name, each in holders.items() if each.version == metadata.version]
            if loading := self._loads.get(str(VersionRef.of(metadata))):
                await asyncio.wait({loading})
            with self.holding(str(VersionRef.of(metadata))):
                await self._load(metadata, stages)
                # Asked again: loading takes its time, and somebody may have rolled back meanwhile.
                holders = await self._holders(model)
                await self._change(lambda state: follow_registry(state, model, holders))
                await self._wait_until_moved(model, metadata.version)
                await self.confirm()
            return ReloadResult(VersionRef.of(metadata), dict(self.state.stages.get(model, {})))
        finally:
            del self._reloading[model]

    async def request(self, model: str, version: str) -> None:
        """Begin to load a version that somebody asked for, unless that has begun already.

        Raises:
            NotRegisteredError: the registry has no such model or version.
            TooManyVersionsError: there is no room for it.
            UnusableVersionError: it was tried just now, and does not load.
        """
        metadata = await self.find(model, version)
        key = str(VersionRef.of(metadata))
        if self.state.find(key) or key in self._loads:
            return
        failed_s, problem = self._failed.get(key, (0.0, ""))
        if problem and self._clock() - failed_s < RETRY_S:
            raise UnusableVersionError(model, version, problem)
        limit = self.state.settings.loading.max_versions
        unpinned = [each.key for each in self.state.versions if not self.state.is_pinned(each)]
        if len({*unpinned, *self._loads}) >= limit:
            raise TooManyVersionsError(model, version, limit)
        self._loads[key] = asyncio.create_task(self._load_on_demand(metadata))

    async def find(self, model: str, reference: str) -> ModelMetadata:
        """Return a registered version.

        Raises:
            NotRegisteredError: there is no such model or version, or none in that stage.
            UnusableVersionError: what is known of it is damaged.
        """
        try:
            metadata = await self._catalogue.find(model, reference)
        except (UnknownModelError, UnknownVersionError, InvalidNameError) as error:
            raise NotRegisteredError(model, reference, str(error)) from error
        except RegistryError as error:
            raise UnusableVersionError(model, reference, str(error)) from error
        if metadata is None:
            raise NotRegisteredError(model, reference, f"{model} has no {reference} version")
        return metadata

    async def load(self, metadata: ModelMetadata) -> None:
        """Return once a version is loaded; one that is here keeps its settings.

        Raises:
            UnusableVersionError: it does not load; nothing has changed.
            FleetUnavailableError: it took too long.
        """
        key = str(VersionRef.of(metadata))
        if loading := self._loads.get(key):
            await asyncio.wait({loading})
        with self.holding(key):
            if self.state.find(key) is None:
                await self._load(metadata, ())
            elif (problem := await self._wait_until_loaded(key)) is not None:
                raise UnusableVersionError(metadata.name, metadata.version, problem)

    @contextmanager
    def holding(self, *keys: str) -> Iterator[None]:
        """Keep these versions from being unloaded as idle: somebody is about to need them."""
        self._held.update(keys)
        try:
            yield
        finally:
            self._held.subtract(keys)

    async def divide(self, running: Sequence[RunningExperiment]) -> None:
        """Divide traffic by exactly these experiments, whose variants are loaded."""
        await self._change(lambda state: split_traffic(state, running))

    async def confirm(self) -> None:
        """Return once every router follows the present state or a newer one.

        Raises:
            UnconfirmedStateError: a router does not follow in time.
        """
        await self._confirmation.wait(self.state)

    async def is_tripped(self, experiment_id: str) -> bool:
        """Return whether a router has taken the experiment's treatment out, or none can tell."""
        reports = await self._routers.reports()
        return not reports or any(experiment_id in each.tripped for each in reports)

    async def tend(self) -> Sight:
        """Take every step towards what is to be that can be taken now; return what was seen.

        Raises:
            FleetUnavailableError: another fleet has taken over; this one stands still.
        """
        async with self._tending:
            await self._expect_not_superseded()
            launches = await self._launch_missing(await self._launcher.launches())
            reports = await self._routers.reports()
            sight = look(self.state, launches, reports)
            await self._change(lambda state: advance(state, sight.loaded))
            leisure = idle(reports, self.state.settings.loading.unload_idle_s)
            held = {key for key, count in self._held.items() if count > 0}
            await self._change(lambda state: retire(state, leisure - held - self._loads.keys()))
            await self._end_unwanted(launches, sight, reports)
            return Sight(sight.loaded & self.state.keys, sight.problems)

    def loads(self) -> Collection["asyncio.Task[None]"]:
        """Return what is being loaded on demand."""
        return tuple(self._loads.values())

    @property
    def state(self) -> ServingState:
        """What is served."""
        assert self._present is not None, "start() comes first"
        return self._present

    async def _first_state(
        self, before: ServingState | None, settings: AppSettings
    ) -> ServingState:
        if before is None:
            return declare(None, await resolve(settings, self._catalogue))
        kept = forget(before, await self._not_registered(before))
        if kept.settings != settings:
            return declare(kept, await resolve(settings, self._catalogue))
        if kept != before:
            return restart(kept, await resolve(settings, self._catalogue))
        await self._tell_drift(before)
        return before

    async def _load(self, metadata: ModelMetadata, stages: Sequence[str]) -> None:
        """Load a version beside the others; what goes wrong leaves everything as it was."""
        model, version, key = metadata.name, metadata.version, str(VersionRef.of(metadata))
        try:
            await self._catalogue.try_out(metadata)
        except RegistryError as error:
            raise UnusableVersionError(model, version, str(error)) from error
        before = self.state.find(key)
        with self.holding(key):
            await self._change(
                lambda state: add(state, metadata, settings_for(state.settings, metadata, stages))
            )
            try:
                problem = await self._wait_until_loaded(key)
            except Exception:
                await self._undo(key, before)
                raise
        if problem is not None:
            await self._undo(key, before)
            raise UnusableVersionError(model, version, problem)

    async def _undo(self, key: str, before: ServedVersion | None) -> None:
        """Take back that a version was to be loaded, but not from a stage that it got meanwhile."""
        if before is None:
            await self._change(lambda state: retire(state, {key}))
        else:
            await self._change(lambda state: restore(state, before))

    async def _load_on_demand(self, metadata: ModelMetadata) -> None:
        key = str(VersionRef.of(metadata))
        try:
            await self._load(metadata, ())
        except UnusableVersionError as error:
            logger.warning("%s", error)
            self._failed[key] = (self._clock(), error.problem)
        except FleetUnavailableError as error:
            logger.warning("%s is not loaded: %s", key, error)
        else:
            self._failed.pop(key, None)
        finally:
            del self._loads[key]

    async def _wait_until_loaded(self, key: str) -> str | None:
        """Return when a version is loaded, or why it will not be."""
        deadline_s = self._clock() + LOAD_TIMEOUT_S
        while self._clock() < deadline_s:
            sight = await self.tend()
            if key in sight.loaded:
                return None
            if key in sight.problems:
                return sight.problems[key]
            await self._sleep(LOADING_PERIOD_S)
        problem = f"{key} was not loaded within {LOAD_TIMEOUT_S:.0f} s and was given up"
        raise FleetUnavailableError(problem)

    async def _wait_until_moved(self, model: str, version: str) -> None:
        """Return when the version has the traffic of every stage that it is to hold."""
        deadline_s = self._clock() + LOAD_TIMEOUT_S
        while self._clock() < deadline_s:
            await self.tend()
            held, wanted = (each.get(model, {}) for each in (self.state.stages, self.state.targets))
            if all(held.get(stage) == to for stage, to in wanted.items() if to == version):
                return
            await self._sleep(LOADING_PERIOD_S)
        raise FleetUnavailableError(f"{model}:{version} is loaded, but not every router reaches it")

    async def _holders(self, model: str) -> dict[str, ModelMetadata]:
        """Return the registry's holder of each stage; where it is damaged, the present one."""
        holders = {}
        for stage in STAGE_NAMES:
            try:
                holder = await self._catalogue.find(model, stage)
            except RegistryError as error:
                logger.error("%s: %s stays as it is: %s", model, stage, error)  # noqa: TRY400
                number = self.state.targets.get(model, {}).get(stage)
                present = self.state.find(f"{model}:{number}")
                holder = None if present is None else present.metadata
            if holder is not None:
                holders[stage] = holder
        return holders

    async def _not_registered(self, state: ServingState) -> set[str]:
        """Return the served versions that the registry has no more, so that they cannot load."""
        gone = set()
        for each in state.versions:
            try:
                await self._catalogue.find(each.metadata.name, each.metadata.version)
            except RegistryError as error:
                logger.error("%s was served and cannot be any more: %s", each.key, error)  # noqa: TRY400
                gone.add(each.key)
        return gone

    async def _tell_drift(self, state: ServingState) -> None:
        """Log where the registry says another version than the one that is served."""
        for model, held in state.targets.items():
            for stage, version in held.items():
                try:
                    holder = await self._catalogue.find(model, stage)
                except RegistryError as error:
                    logger.error("%s: the registry's %s: %s", model, stage, error)  # noqa: TRY400
                    continue
                if holder is not None and holder.version != version:
                    logger.warning(
                        "%s: %s is served as %s, the registry says %s; a reload follows it",
                        model,
                        version,
                        stage,
                        holder.version,
                    )

    async def _change(self, transition: Callable[[ServingState], ServingState]) -> None:
        """Write down what is to be served from now on, then tell the routers."""
        async with self._changing:
            if self.superseded:
                raise FleetUnavailableError(SUPERSEDED)
            state = transition(self.state)
            if state == self.state:
                return
            if not await self._ledger.write(state, self.state.revision):
                self.superseded = True
                raise FleetUnavailableError(SUPERSEDED)
            self._present = state
            await self._routers.adopt(state)

    async def _expect_not_superseded(self) -> None:
        """Raise FleetUnavailableError once another fleet has written: this one stands still."""
        async with self._changing:
            present = await self._ledger.read()
            if present is None or present.revision != self.state.revision:
                self.superseded = True
        if self.superseded:
            raise FleetUnavailableError(SUPERSEDED)

    async def _launch_missing(self, launches: Mapping[str, Launch]) -> Mapping[str, Launch]:
        """Start what should run and does not, or runs with other settings."""
        begun = {}
        for version in self.state.versions:
            if self._must_launch(version, launches.get(version.key)):
                await self._expect_not_superseded()
                await self._launcher.launch(version)
                self._launched_s[version.key] = self._clock()
                begun[version.key] = Launch(LaunchPhase.STARTING)
                await self._change(lambda state, version=version: mark_launched(state, version))  # type: ignore[misc]
        return {**launches, **begun}

    def _must_launch(self, version: ServedVersion, launch: Launch | None) -> bool:
        if version.settings.placement == "router":
            return False
        if launch is None or launch.phase is LaunchPhase.STOPPING:
            # What stops must be gone first; it is seen at one of the next looks.
            return launch is None
        if version.launched != version.load:
            return True
        waited_s = self._clock() - self._launched_s.setdefault(version.key, self._clock())
        return launch.phase is LaunchPhase.FAILED and waited_s >= RETRY_S

    async def _end_unwanted(
        self, launches: Mapping[str, Launch], sight: Sight, reports: Sequence[RouterReport]
    ) -> None:
        """End replicas that no router uses any more, a while after the last one let go."""
        now_s, revision = self._clock(), self.state.revision
        self._unwanted_since = {
            key: self._unwanted_since.get(key, (now_s, revision))
            for key in unwanted(self.state, launches, sight)
        }
        oldest = min((each.revision for each in reports), default=0)
        for key, (began_s, left_with) in self._unwanted_since.items():
            waited_s = now_s - began_s
            let_go = oldest >= left_with and waited_s >= DRAIN_S
            if let_go or waited_s >= LONGEST_DRAIN_S:
                await self._expect_not_superseded()
                await self._launcher.end(key)
                self._launched_s.pop(key, None)
