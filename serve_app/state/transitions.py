"""Every change of the serving state, as a pure function from one state to the next.

A version is added to the state in order to be loaded. A stage moves to it only once it is loaded
(`advance`), and a version without a stage or a declaration is removed once it is idle (`retire`).

    configuration ───► declare ───────────────┐
    reload ──────────► add, follow_registry ──┼─► advance (loaded) ──► retire (idle)
    load on demand ──► add ───────────────────┘

An unchanged state is returned as it is; a changed one has the next revision.
"""

from collections.abc import Collection, Mapping

from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import VersionSettings
from serve_app.state.serving import Declaration, ServedVersion, ServingState, Stages
from serve_app.versions import VersionRef


def declare(before: ServingState | None, declaration: Declaration) -> ServingState:
    """Return the state that starts the move to what a configuration declares.

    Current versions stay at first: stages move when their new versions are loaded, and versions
    that are no longer declared leave then. Versions that were added at run time stay.
    """
    if before is None:
        return ServingState(
            settings=declaration.settings,
            versions=declaration.versions,
            stages=declaration.stages,
            targets=declaration.stages,
        )
    versions = [_succeeding(before, served) for served in declaration.versions]
    declared = {served.ref for served in versions}
    vacant = _vacant(before, declaration)
    needed = {VersionRef(model, number) for model in vacant for number in vacant[model].values()}
    kept = [
        served.model_copy(
            update={
                "leaving": served.ref not in needed
                and (served.leaving or before.is_declared(served))
            }
        )
        for served in before.versions
        if served.ref not in declared
    ]
    # A stage without a version points at its target at once: there is nothing to wait for.
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
                **vacant.get(model, {}),
            }
            for model in stages
        },
    )


def restart(before: ServingState, declaration: Declaration) -> ServingState:
    """Return the state from before a restart, and fill empty stages from the declaration.

    This applies to an unchanged configuration: later reloads stay in effect. A stage has no version
    if the registry has lost it.
    """
    versions, stages, targets = list(before.versions), dict(before.stages), dict(before.targets)
    for model, holders in declaration.stages.items():
        for stage, number in holders.items():
            if stage in targets.get(model, {}):
                continue
            stages[model] = {stage: number, **stages.get(model, {})}
            targets[model] = {**targets.get(model, {}), stage: number}
            ref = VersionRef(model, number)
            if ref not in {served.ref for served in versions}:
                versions += [served for served in declaration.versions if served.ref == ref]
    return _changed(before, versions=tuple(versions), stages=stages, targets=targets)


def add(state: ServingState, metadata: ModelMetadata, settings: VersionSettings) -> ServingState:
    """Return the state with an additional version, or with an existing one under new settings."""
    added = _succeeding(state, ServedVersion(metadata=metadata, settings=settings))
    if state.find(added.ref) is None:
        return _changed(state, versions=(*state.versions, added))
    return restore(state, added)


def restore(state: ServingState, before: ServedVersion) -> ServingState:
    """Return the state with `before` in place of the same version."""
    versions = tuple(before if served.ref == before.ref else served for served in state.versions)
    return _changed(state, versions=versions)


def mark_launched(state: ServingState, version: ServedVersion) -> ServingState:
    """Return the state in which the version's replicas run with the version's current load."""
    versions = tuple(
        served.model_copy(update={"launched": version.load})
        if served.ref == version.ref
        else served
        for served in state.versions
    )
    return _changed(state, versions=versions)


def record_loads(
    state: ServingState,
    running: Collection[VersionRef],
    loaded: Collection[VersionRef],
    problems: Mapping[VersionRef, str],
) -> ServingState:
    """Return the state with what has been observed of the changed and the new versions.

    Args:
        state: the current state.
        running: the versions whose replicas all run.
        loaded: the versions that every router reaches; what they replaced may stop.
        problems: why versions cannot be loaded.
    """

    def recorded(served: ServedVersion) -> ServedVersion:
        if served.ref in loaded:
            return served.model_copy(update={"ready": True, "problem": None, "replaces": None})
        ready = served.ready or (served.ref in running and served.replaces is not None)
        problem = problems.get(served.ref, served.problem)
        return served.model_copy(update={"ready": ready, "problem": problem})

    return _changed(state, versions=tuple(map(recorded, state.versions)))


def forget(state: ServingState, refs: Collection[VersionRef]) -> ServingState:
    """Return the state without these versions, their stages and their experiments."""

    def remaining(stages: Stages) -> Stages:
        return {
            model: {
                stage: version
                for stage, version in holders.items()
                if VersionRef(model, version) not in refs
            }
            for model, holders in stages.items()
        }

    return _changed(
        state,
        versions=tuple(served for served in state.versions if served.ref not in refs),
        stages=remaining(state.stages),
        targets=remaining(state.targets),
        experiments=tuple(running for running in state.experiments if not running.refs & set(refs)),
    )


def follow_registry(
    state: ServingState, model: str, holders: Mapping[str, ModelMetadata]
) -> ServingState:
    """Return the state with the registry's stages of a model as targets, where they are served.

    Args:
        state: the current state.
        model: the model's name.
        holders: the registry's version by stage name. A stage without one ends here as well, except
        for production, so that requests that name no version are still served.
    """
    targets = dict(state.targets.get(model, {}))
    for stage in STAGE_NAMES:
        holder = holders.get(stage)
        if holder is not None and VersionRef.of(holder) in state.refs:
            targets[stage] = holder.version
        elif holder is None and stage != "production":
            targets.pop(stage, None)
    fresh = {VersionRef.of(holder): holder for holder in holders.values()}
    versions = tuple(
        served.model_copy(update={"metadata": _refreshed(served.metadata, fresh.get(served.ref))})
        for served in state.versions
    )
    return _changed(state, versions=versions, targets={**state.targets, model: targets})


def advance(state: ServingState, loaded: Collection[VersionRef]) -> ServingState:
    """Return the state in which every stage whose target is loaded points at it.

    Versions that are leaving are removed once no stage points at them.

    Args:
        state: the current state.
        loaded: the versions that every router reaches.
    """
    stages: Stages = {}
    for model, targets in state.targets.items():
        before = state.stages.get(model, {})
        stages[model] = {
            stage: version
            for stage in STAGE_NAMES
            if (version := _next_holder(model, targets.get(stage), before.get(stage), loaded))
        }
    needed = {VersionRef(model, version) for model in stages for version in stages[model].values()}
    needed.update(*(running.refs for running in state.experiments))
    versions = tuple(
        served for served in state.versions if served.ref in needed or not served.leaving
    )
    return _changed(state, stages=stages, versions=versions)


def retire(state: ServingState, refs: Collection[VersionRef]) -> ServingState:
    """Return the state without these versions, except for those that are pinned."""
    versions = tuple(
        served for served in state.versions if served.ref not in refs or state.is_pinned(served)
    )
    return _changed(state, versions=versions)


def split_traffic(state: ServingState, running: Collection[RunningExperiment]) -> ServingState:
    """Return the state in which exactly these experiments split traffic."""
    return _changed(state, experiments=tuple(running))


def _succeeding(state: ServingState, changed: ServedVersion) -> ServedVersion:
    present = state.find(changed.ref)
    return changed if present is None else present.succeeded_by(changed)


def _vacant(before: ServingState, declaration: Declaration) -> Stages:
    """Return the current targets of declared stages that have no version in the registry now.

    Requests for these stages are still served, since the registry may soon be repaired.
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
    """Return a model's targets: the declared ones, else those at versions that stay."""
    staying = {
        served.metadata.version
        for served in kept
        if served.metadata.name == model and not served.leaving
    }
    others = {
        stage: version
        for stage, version in before.targets.get(model, {}).items()
        if version in staying
    }
    return {**others, **declared}


def _refreshed(known: ModelMetadata, fresh: ModelMetadata | None) -> ModelMetadata:
    """Return the known metadata with the registry's current stage and metrics.

    The artifact stays: serving another one requires new replicas, and thus a reload.
    """
    if fresh is None:
        return known
    return known.model_copy(update={"stage": fresh.stage, "metrics": fresh.metrics})


def _next_holder(
    model: str, target: str | None, before: str | None, loaded: Collection[VersionRef]
) -> str | None:
    if target is None or before is None or VersionRef(model, target) in loaded:
        return target
    return before


def _changed(state: ServingState, **changes: object) -> ServingState:
    """Return the state with `changes` and the next revision; itself if nothing changes."""
    changed = state.model_copy(update=changes)
    if changed == state:
        return state
    return changed.model_copy(update={"revision": state.revision + 1})
