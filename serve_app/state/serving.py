"""What this server serves, as one durable value, and every way it may change. Pure: no IO, no Ray.

A version comes into the state to be loaded. A stage moves to it only once it is (`advance`), and
what no stage and no declaration holds leaves when nobody asks for it (`retire`).

    file deployed ──► declare ─┐
    reload ─────► add, follow ─┼─► advance (once loaded) ──► retire (once idle)
    asked for ──► add ─────────┘
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from registry.predictors import choose_artifact
from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.errors import ServingStateError
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import AppSettings, VersionSettings
from serve_app.state.routing import RoutingTable
from serve_app.versions import VersionRef

Stages = dict[str, dict[str, str]]
"""Version by model and stage: {"hybrid_cnn_lstm": {"production": "1.0.0"}}."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Load(_Value):
    """What a version is loaded with; another one needs new replicas."""

    settings: VersionSettings
    artifact: str
    """Its sha256; a version may be served from another of its artifacts one day."""


class ServedVersion(_Value):
    """A version that is loaded, or is to be."""

    metadata: ModelMetadata
    settings: VersionSettings
    launched: Load | None = None
    """With what its replicas were started last; None while they are to be."""
    leaving: bool = False
    """No longer declared: it goes once no stage is left on it."""

    @property
    def load(self) -> Load:
        """What it is to be loaded with."""
        artifact = self.metadata.artifacts[choose_artifact(self.metadata)]
        return Load(settings=self.settings, artifact=artifact)

    @property
    def ref(self) -> VersionRef:
        """The reference to this version."""
        return VersionRef.of(self.metadata)

    @property
    def key(self) -> str:
        """`model:version`."""
        return str(self.ref)


class Declaration(_Value):
    """What a configuration means: its references resolved when the application was built."""

    settings: AppSettings
    versions: tuple[ServedVersion, ...]
    stages: Stages
    """What each stage of the declared models is to be, where its holder is declared."""


class ServingState(_Value):
    """Which versions serve and which of them holds which stage, here; see the module."""

    schema_version: Literal[1] = 1
    revision: int = 1
    """Grows with every change."""
    settings: AppSettings
    versions: tuple[ServedVersion, ...]
    stages: Stages
    """Where the traffic of each stage goes."""
    targets: Stages
    """Where it is to go once that version is loaded."""
    experiments: tuple[RunningExperiment, ...] = ()
    """Those that divide the traffic of a model."""

    @property
    def keys(self) -> frozenset[str]:
        """`model:version` of every version."""
        return frozenset(each.key for each in self.versions)

    def find(self, key: str) -> ServedVersion | None:
        """Return the version `model:version`, None when it is not here."""
        return next((each for each in self.versions if each.key == key), None)

    def routing_table(self) -> RoutingTable:
        """Return what the routers decide by."""
        return RoutingTable(
            default_model=self.settings.usual_model,
            versions=[each.metadata for each in self.versions],
            stages=self.stages,
            pinned=frozenset(each.ref for each in self.versions if self.is_pinned(each)),
            loads_on_demand=self.settings.loading.on_demand,
            experiments={each.definition.control_model_name: each for each in self.experiments},
        )

    def is_pinned(self, version: ServedVersion) -> bool:
        """Return whether it stays without requests: by its number, a stage, an experiment."""
        by_number = (version.metadata.name, version.metadata.version) in self._declared
        is_variant = any(version.key in each.keys for each in self.experiments)
        return is_variant or bool(self._stages_of(version)) or (by_number and not version.leaving)

    def is_declared(self, version: ServedVersion) -> bool:
        """Return whether the configuration names it, by its number or by a stage that it holds."""
        references = {version.metadata.version, *self._stages_of(version)}
        return any((version.metadata.name, each) in self._declared for each in references)

    @property
    def _declared(self) -> frozenset[tuple[str, str]]:
        return frozenset((each.model, each.version) for each in self.settings.versions)

    def _stages_of(self, version: ServedVersion) -> set[str]:
        """Return the stages that it holds or is to hold."""
        name, number = version.metadata.name, version.metadata.version
        holders = [*self.stages.get(name, {}).items(), *self.targets.get(name, {}).items()]
        return {stage for stage, holder in holders if holder == number}


def read_state(content: bytes, path: Path) -> ServingState:
    """Return the state that was written as JSON.

    Raises:
        ServingStateError: it is not one, or that of another release.
    """
    try:
        return ServingState.model_validate_json(content)
    except ValidationError as error:
        problem = "; ".join(f"{each['loc']}: {each['msg']}" for each in error.errors()[:3])
        raise ServingStateError(str(path), problem) from error


def declare(before: ServingState | None, declaration: Declaration) -> ServingState:
    """Return the state on the way to what a configuration declares.

    What runs goes on: stages move when their new holders are loaded, and declared versions that no
    longer are leave then. Versions that came at run time stay.
    """
    if before is None:
        return ServingState(
            settings=declaration.settings,
            versions=declaration.versions,
            stages=declaration.stages,
            targets=declaration.stages,
        )
    running = {each.key: each.launched for each in before.versions}
    versions = [
        each.model_copy(update={"launched": running.get(each.key)}) for each in declaration.versions
    ]
    declared = {each.key for each in versions}
    unheld = _unheld(before, declaration)
    held_on = {f"{model}:{number}" for model in unheld for number in unheld[model].values()}
    kept = [
        each.model_copy(
            update={
                "leaving": each.key not in held_on and (each.leaving or before.is_declared(each))
            }
        )
        for each in before.versions
        if each.key not in declared
    ]
    # A stage that pointed nowhere points at its version at once: there is nothing to wait for.
    stages = {
        model: {**declaration.stages.get(model, {}), **before.stages.get(model, {})}
        for model in {**before.stages, **declaration.stages}
    }
    return ServingState(
        revision=before.revision + 1,
        settings=declaration.settings,
        versions=(*versions, *kept),
        experiments=before.experiments,
        stages=stages,
        targets={
            model: {
                **_without_leaving(declaration.stages.get(model, {}), before, model, kept),
                **unheld.get(model, {}),
            }
            for model in stages
        },
    )


def restart(before: ServingState, declaration: Declaration) -> ServingState:
    """Return the state of before, with the configuration's holder of each stage that has none.

    For a configuration that is the same as before: what was reloaded since goes on. A stage is
    empty where its holder is registered no more.
    """
    versions, stages, targets = list(before.versions), dict(before.stages), dict(before.targets)
    for model, holders in declaration.stages.items():
        for stage, number in holders.items():
            if stage in targets.get(model, {}):
                continue
            stages[model] = {stage: number, **stages.get(model, {})}
            targets[model] = {**targets.get(model, {}), stage: number}
            if f"{model}:{number}" not in {each.key for each in versions}:
                versions += [
                    each for each in declaration.versions if each.key == f"{model}:{number}"
                ]
    return _changed(before, versions=tuple(versions), stages=stages, targets=targets)


def _unheld(before: ServingState, declaration: Declaration) -> Stages:
    """Return the stages that are declared and that no version holds now, where they are here.

    Whoever asks for them goes on being answered; the registry may be mended in a minute.
    """
    found: Stages = {}
    for declared in declaration.settings.versions:
        model, stage = declared.model, declared.version
        present = before.targets.get(model, {}).get(stage)
        if present is not None and stage not in declaration.stages.get(model, {}):
            found.setdefault(model, {})[stage] = present
    return found


def _without_leaving(
    declared: Mapping[str, str], before: ServingState, model: str, kept: Collection[ServedVersion]
) -> dict[str, str]:
    """Return a model's targets: as declared, else where a version that stays holds the stage."""
    staying = {
        each.metadata.version for each in kept if each.metadata.name == model and not each.leaving
    }
    others = {
        stage: version
        for stage, version in before.targets.get(model, {}).items()
        if version in staying
    }
    return {**others, **declared}


def add(state: ServingState, metadata: ModelMetadata, settings: VersionSettings) -> ServingState:
    """Return the state with a version that came at run time, or with it under new settings."""
    known = state.find(str(VersionRef.of(metadata)))
    launched = known.launched if known else None
    added = ServedVersion(metadata=metadata, settings=settings, launched=launched)
    versions = tuple(added if each.key == added.key else each for each in state.versions)
    return _changed(state, versions=versions if known else (*versions, added))


def restore(state: ServingState, before: ServedVersion) -> ServingState:
    """Return the state with a version as it was, but for what its replicas run with."""
    versions = tuple(
        before.model_copy(update={"launched": each.launched}) if each.key == before.key else each
        for each in state.versions
    )
    return _changed(state, versions=versions)


def launched(state: ServingState, version: ServedVersion) -> ServingState:
    """Return the state in which the version's replicas were started with its settings."""
    versions = tuple(
        each.model_copy(update={"launched": version.load}) if each.key == version.key else each
        for each in state.versions
    )
    return _changed(state, versions=versions)


def forget(state: ServingState, keys: Collection[str]) -> ServingState:
    """Return the state without these versions, whatever holds them, and the stages left empty."""

    def staying(stages: Stages) -> Stages:
        return {
            model: {
                stage: version
                for stage, version in holders.items()
                if f"{model}:{version}" not in keys
            }
            for model, holders in stages.items()
        }

    return _changed(
        state,
        versions=tuple(each for each in state.versions if each.key not in keys),
        stages=staying(state.stages),
        targets=staying(state.targets),
        experiments=tuple(each for each in state.experiments if not each.keys & set(keys)),
    )


def follow(state: ServingState, model: str, holders: Mapping[str, ModelMetadata]) -> ServingState:
    """Return the state with the registry's stages of a model as targets, as far as served here.

    Args:
        state: what is served.
        model: its name.
        holders: the registry's holder by stage name. A stage without one ends here as well, but for
            production: requests that name nothing keep their answers.
    """
    targets = dict(state.targets.get(model, {}))
    for stage in STAGE_NAMES:
        holder = holders.get(stage)
        if holder is not None and str(VersionRef.of(holder)) in state.keys:
            targets[stage] = holder.version
        elif holder is None and stage != "production":
            targets.pop(stage, None)
    fresh = {str(VersionRef.of(each)): each for each in holders.values()}
    versions = tuple(
        each.model_copy(update={"metadata": _told(each.metadata, fresh.get(each.key))})
        for each in state.versions
    )
    return _changed(state, versions=versions, targets={**state.targets, model: targets})


def _told(known: ModelMetadata, fresh: ModelMetadata | None) -> ModelMetadata:
    """Return what is known, with the registry's present stage and figures.

    Not with its present artifact: who serves from another one is loaded anew, and is reloaded.
    """
    if fresh is None:
        return known
    return known.model_copy(update={"stage": fresh.stage, "metrics": fresh.metrics})


def advance(state: ServingState, loaded: Collection[str]) -> ServingState:
    """Return the state with every stage on its target that is loaded, and the left ones gone.

    Args:
        state: what is served.
        loaded: `model:version` of what every router can reach.
    """
    stages: Stages = {}
    for model, targets in state.targets.items():
        before = state.stages.get(model, {})
        stages[model] = {
            stage: version
            for stage in STAGE_NAMES
            if (version := _next_holder(model, targets.get(stage), before.get(stage), loaded))
        }
    held = {f"{model}:{version}" for model in stages for version in stages[model].values()}
    held.update(*(each.keys for each in state.experiments))
    versions = tuple(each for each in state.versions if each.key in held or not each.leaving)
    return _changed(state, stages=stages, versions=versions)


def _next_holder(
    model: str, target: str | None, before: str | None, loaded: Collection[str]
) -> str | None:
    if target is None or before is None or f"{model}:{target}" in loaded:
        return target
    return before


def retire(state: ServingState, keys: Collection[str]) -> ServingState:
    """Return the state without these versions, but for those that are pinned."""
    versions = tuple(
        each for each in state.versions if each.key not in keys or state.is_pinned(each)
    )
    return _changed(state, versions=versions)


def experiment(state: ServingState, running: Collection[RunningExperiment]) -> ServingState:
    """Return the state in which exactly these experiments divide traffic."""
    return _changed(state, experiments=tuple(running))


def settings_for(
    state: ServingState, metadata: ModelMetadata, stages: Collection[str]
) -> VersionSettings:
    """Return a version's settings: by its number, by its stage, else its model's for one replica.

    Args:
        state: holds what the configuration declares.
        metadata: the version's.
        stages: names of the stages that it holds, or is about to.
    """
    declared = {
        each.version: each for each in state.settings.versions if each.model == metadata.name
    }
    wanted = (metadata.version, *(stage for stage in STAGE_NAMES if stage in stages))
    for reference in wanted:
        if reference in declared:
            return settled(declared[reference], metadata)
    for pattern in (declared.get("production"), *declared.values()):
        if pattern is not None:
            alone = {"num_replicas": None, "autoscaling": None}
            return settled(pattern.model_copy(update=alone), metadata)
    return VersionSettings(model=metadata.name, version=metadata.version)


def settled(settings: VersionSettings, metadata: ModelMetadata) -> VersionSettings:
    """Return the settings under the version's number: whatever stage it was declared by, the same
    settings need no new replicas."""
    return settings.model_copy(update={"version": metadata.version})


def _changed(state: ServingState, **changes: object) -> ServingState:
    """Return the state with `changes` and the next revision, or itself where nothing changes."""
    changed = state.model_copy(update=changes)
    return (
        state if changed == state else changed.model_copy(update={"revision": state.revision + 1})
    )
