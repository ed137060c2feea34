"""Experiments start, continue and stop, in a world in memory."""

import asyncio
import math

import pytest

from serve_app.errors import (
    ExperimentConflictError,
    InvalidRequestError,
    NoSuchExperimentError,
    NotRegisteredError,
    StorageUnavailableError,
    UnusableVersionError,
)
from serve_app.experiments.definition import EndReason
from serve_app.experiments.store import HistoryEntry
from testkit.models import toy
from tests.serve_app.control_plane.experiment_world import START, definition, splitting_shares


async def test_treatment_is_loaded_before_its_first_request(world, controller):
    await controller.create(definition())
    assert toy("1.1.0") in world.running
    assert splitting_shares(world) == {"a_b": 0.1}
    assert world.serving() == "1.0.0"


async def test_variant_stays_loaded_while_its_experiment_runs(world, fleet, controller):
    """It is unloaded as idle only after the experiment has ended."""
    await controller.create(definition())
    for _ in range(20):
        await fleet.reconcile()
        await world.sleep(1)
    assert toy("1.1.0") in world.running
    await controller.stop("a_b")
    for _ in range(20):
        await fleet.reconcile()
        await world.sleep(1)
    assert sorted(world.running) == [toy("1.0.0")]


async def test_unloadable_treatment_makes_no_experiment(world, controller, store):
    world.damaged = {"1.1.0"}
    with pytest.raises(UnusableVersionError, match="sha256"):
        await controller.create(definition())
    with pytest.raises(NotRegisteredError):
        await controller.create(definition(treatment_model_version="9.9.9"))
    assert (store.stored, splitting_shares(world)) == ({}, {})


async def test_model_is_in_one_experiment_at_a_time(world, controller):
    """The error names the other experiment; an id is never used again."""
    await controller.create(definition())
    with pytest.raises(ExperimentConflictError, match="'a_b' is running on model 'toy'"):
        await controller.create(definition(experiment_id="c", treatment_model_version="1.2.0"))
    assert toy("1.2.0") not in world.running
    await controller.stop("a_b")
    with pytest.raises(ExperimentConflictError, match="exists already"):
        await controller.create(definition())


async def test_repeated_command_is_the_same_experiment(world, controller, store):
    """Its first response was lost: every attempt succeeds, and the experiment starts once."""
    for _ in range(2):
        await controller.create(definition(), "bot", "key")
    assert (splitting_shares(world), store.actions()) == ({"a_b": 0.1}, ["created"])


async def test_repetition_after_a_crash_splits_the_traffic(world, controller, store):
    """The first attempt ended with its fleet, after the experiment had been stored."""
    await store.create(definition(), START, "bot", "key")
    await controller.create(definition(), "bot", "key")
    assert (splitting_shares(world), store.actions()) == ({"a_b": 0.1}, ["created"])


@pytest.mark.parametrize("attempt", [("bot", "other"), ("alice", "key"), ("bot", None)])
async def test_other_command_with_the_same_id_is_rejected(controller, store, attempt):
    """An id is used once: only the command that created the experiment may repeat it."""
    await controller.create(definition(), "bot", "key")
    with pytest.raises(ExperimentConflictError, match="'a_b' exists already"):
        await controller.create(definition(), *attempt)
    assert store.actions() == ["created"]


async def test_repetition_does_not_restart_an_ended_experiment(world, controller):
    await controller.create(definition(), "bot", "key")
    await controller.stop("a_b")
    with pytest.raises(ExperimentConflictError, match="exists already"):
        await controller.create(definition(), "bot", "key")
    assert splitting_shares(world) == {}


async def test_dead_band_of_the_model_is_the_default(world, controller):
    for number, registered in world.versions.items():
        declared = {"dataset_info": {"dead_band": 0.001}}
        world.versions[number] = registered.model_copy(update=declared)
    assert (await controller.create(definition())).dead_band == 0.001
    await controller.stop("a_b")
    given = await controller.create(definition(experiment_id="c", dead_band=0.0))
    assert given.dead_band == 0.0


async def test_variants_of_other_shapes_are_rejected(world, controller):
    """They cannot serve the same requests."""
    other = world.versions["1.1.0"].model_copy(update={"input_shape": (5, 2)})
    world.versions["1.1.0"] = other
    with pytest.raises(InvalidRequestError, match=r"input shape, \(3, 2\)"):
        await controller.create(definition())


async def test_stopped_experiment_keeps_its_first_end(world, controller, store):
    """It splits no traffic, and another stop returns the same final analysis."""
    await controller.create(definition())
    final = await controller.stop("a_b", "alice")
    assert store.entries["a_b"][-1].details["by"] == "alice"
    assert (final["status"], splitting_shares(world)) == ("completed", {})
    assert store.actions() == ["created", "stopped"]
    assert store.entries["a_b"][-1].details["analysis"] == final
    assert await controller.stop("a_b") == final
    assert store.actions() == ["created", "stopped"]
    with pytest.raises(NoSuchExperimentError):
        await controller.stop("other")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"auto_apply": True}, "horizon_s: expected the time for which a position is held"),
        ({"duration_hours": 1, "horizon_s": 3600}, "horizon_s: expected less than"),
        ({"duration_hours": 1e300}, "duration_hours: expected at most 87,840 hours"),
    ],
)
async def test_definition_without_a_possible_verdict_is_rejected(controller, store, fields, words):
    with pytest.raises(InvalidRequestError, match=words):
        await controller.create(definition(**fields))
    assert store.stored == {}


@pytest.mark.parametrize("declared", [(0.001, 0.002), (math.nan, math.nan), (True, True), (-1, -1)])
async def test_unclear_dead_bands_are_rejected(world, controller, declared):
    for version, value in zip(("1.0.0", "1.1.0"), declared, strict=True):
        world.versions[version] = world.versions[version].model_copy(
            update={"dataset_info": {"dead_band": value}}
        )
    with pytest.raises(InvalidRequestError, match="dead_band: expected to be stated, or"):
        await controller.create(definition())
    assert (await controller.create(definition(dead_band=0.5))).dead_band == 0.5


async def test_promotion_across_models_is_rejected(controller):
    with pytest.raises(InvalidRequestError, match="two versions of one model"):
        await controller.create(
            definition(auto_apply=True, horizon_s=60, treatment_model_name="other")
        )


async def test_traffic_follows_the_store_after_a_crash(world, controller, store):
    """A crash may leave an experiment stored but not split, or ended but still split."""
    await store.create(definition(), START, "bot", "key")
    await controller.reconcile()
    assert (splitting_shares(world), toy("1.1.0") in world.running) == ({"a_b": 0.1}, True)
    entry = HistoryEntry(time=START, action="stopped", details={})
    await store.end("a_b", EndReason.STOPPED, {}, entry)
    await controller.reconcile()
    assert splitting_shares(world) == {}


async def test_unstored_end_is_stored_later(world, controller, store):
    """Its traffic has stopped nevertheless, and does not start again."""
    await controller.create(definition())
    store.end_error = StorageUnavailableError("the disk is full")
    with pytest.raises(StorageUnavailableError):
        await controller.stop("a_b")
    await controller.reconcile()
    assert (splitting_shares(world), store.actions()) == ({}, ["created"])
    store.end_error = None
    await controller.reconcile()
    assert (splitting_shares(world), store.actions()) == ({}, ["created", "stopped"])


async def test_unavailable_store_stops_nothing(world, controller, store):
    await controller.create(definition())

    async def away():
        raise StorageUnavailableError("the log is away")

    store.running = away
    task = asyncio.create_task(controller.reconcile_forever())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    assert splitting_shares(world) == {"a_b": 0.1}
