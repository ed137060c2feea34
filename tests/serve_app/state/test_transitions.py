"""Transitions are pure: a change has the next revision, and no change leaves the state alone."""

from datetime import UTC, datetime

import pytest

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import AppSettings
from serve_app.state import transitions
from serve_app.state.serving import Declaration, ServedVersion
from serve_app.state.version_settings import numbered
from testkit.models import metadata, toy

SETTINGS = AppSettings(versions=[{"model": "toy", "version": "production"}])


def served(number):
    described = metadata(version=number)
    return ServedVersion(metadata=described, settings=numbered(SETTINGS.versions[0], described))


def declaration(*numbers, production):
    return Declaration(
        settings=SETTINGS,
        versions=tuple(served(number) for number in numbers),
        stages={"toy": {"production": production}},
    )


@pytest.fixture
def state():
    return transitions.declare(None, declaration("1.0.0", production="1.0.0"))


def test_unchanged_state_keeps_its_revision(state):
    assert transitions.advance(state, {toy("1.0.0")}) is state
    assert transitions.retire(state, {toy("1.0.0")}) is state, "its stage pins it"
    assert transitions.split_traffic(state, ()) is state


def test_stage_moves_once_its_target_is_loaded(state):
    added = transitions.add(state, metadata(version="1.1.0"), served("1.1.0").settings)
    aimed = transitions.follow_registry(added, "toy", {"production": metadata(version="1.1.0")})
    assert aimed.targets["toy"]["production"] == "1.1.0"
    assert transitions.advance(aimed, {toy("1.0.0")}).stages["toy"]["production"] == "1.0.0"
    moved = transitions.advance(aimed, {toy("1.0.0"), toy("1.1.0")})
    assert moved.stages["toy"]["production"] == "1.1.0"
    assert moved.revision == state.revision + 3
    assert transitions.retire(moved, {toy("1.0.0"), toy("1.1.0")}).refs == {toy("1.1.0")}


def test_undeclared_version_leaves_after_its_stage_moved(state):
    state = transitions.mark_launched(state, state.versions[0])
    after = transitions.declare(state, declaration("1.1.0", production="1.1.0"))
    assert after.find(toy("1.0.0")).leaving
    assert after.stages["toy"]["production"] == "1.0.0"
    assert transitions.advance(after, {toy("1.1.0")}).refs == {toy("1.1.0")}


@pytest.fixture
def changed():
    """The declared version with other settings."""
    settings = served("1.0.0").settings.model_copy(update={"num_threads": 2})
    return Declaration(
        settings=SETTINGS,
        versions=(served("1.0.0").model_copy(update={"settings": settings}),),
        stages={"toy": {"production": "1.0.0"}},
    )


def test_changed_load_is_launched_beside_the_old_one(state, changed):
    """The old load stays until every router uses the new one, whether that fails or not."""
    old = state.versions[0]
    pending = transitions.declare(state, changed)
    (version,) = pending.versions
    assert version.replaces == old
    assert version.launch_id != old.launch_id
    failed = transitions.record_loads(pending, (), (), {version.ref: "no module"})
    assert failed.versions[0].replaces == old
    assert failed.routing_table().problems == {version.ref: "no module"}
    assert failed.routing_table().pending == {version.ref}
    again = transitions.declare(failed, changed).versions[0]
    assert (again.launch_id, again.replaces) == (version.launch_id, old)
    loaded = transitions.record_loads(failed, {version.ref}, {version.ref}, {})
    assert (loaded.versions[0].replaces, loaded.versions[0].problem) == (None, None)
    assert loaded.routing_table().pending == frozenset()


def test_withdrawn_change_returns_to_the_old_load(state, changed):
    pending = transitions.declare(state, changed)
    failed = transitions.record_loads(pending, (), (), {toy("1.0.0"): "no module"})
    withdrawn = transitions.declare(failed, declaration("1.0.0", production="1.0.0"))
    assert withdrawn.versions == state.versions


def test_routers_change_over_when_all_replicas_run(state, changed):
    """The first of several new replicas does not receive the load of all old ones."""
    pending = transitions.declare(state, changed)
    assert not pending.versions[0].takes_over
    running = transitions.record_loads(pending, {toy("1.0.0")}, (), {})
    assert running.versions[0].takes_over
    assert running.versions[0].replaces is not None


def test_load_that_never_worked_is_not_kept(state, changed):
    failed = transitions.record_loads(state, (), (), {toy("1.0.0"): "no module"})
    assert transitions.declare(failed, changed).versions[0].replaces is None


def test_forgotten_version_ends_its_experiment(state):
    both = transitions.add(state, metadata(version="1.1.0"), served("1.1.0").settings)
    running = RunningExperiment(
        definition=ExperimentDefinition(
            experiment_id="a_b",
            control_model_name="toy",
            control_model_version="1.0.0",
            treatment_model_name="toy",
            treatment_model_version="1.1.0",
        ),
        treatment_share=0.1,
        exposed_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    split = transitions.split_traffic(both, [running])
    assert split.is_pinned(split.find(toy("1.1.0")))
    forgotten = transitions.forget(split, {toy("1.1.0")})
    assert (forgotten.experiments, forgotten.refs) == ((), {toy("1.0.0")})
