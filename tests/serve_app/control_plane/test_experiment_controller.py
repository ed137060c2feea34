"""Experiments begin, go on and are stopped, in a world in memory."""

import asyncio
import math

import pytest

from serve_app.errors import (
    ExperimentConflictError,
    InvalidRequestError,
    NoSuchExperimentError,
    NotRegisteredError,
    UnusableVersionError,
)
from serve_app.experiments.definition import EndReason
from serve_app.experiments.store import HistoryEntry
from tests.serve_app.control_plane.experiment_world import BEGINNING, definition, dividing


async def test_a_treatment_is_loaded_before_it_gets_its_first_request(world, conductor, book):
    await conductor.create(definition())
    assert "toy:1.1.0" in world.running
    assert dividing(world) == {"a_b": 0.1}
    assert world.serving() == "1.0.0"


async def test_an_variant_is_never_unloaded_while_its_experiment_runs(world, conductor, book):
    await conductor.create(definition())
    for _ in range(20):
        await conductor._fleet.tend()
        await world.sleep(1)
    assert "toy:1.1.0" in world.running
    await conductor.stop("a_b")
    for _ in range(20):
        await conductor._fleet.tend()
        await world.sleep(1)
    assert sorted(world.running) == ["toy:1.0.0"]


async def test_a_treatment_that_cannot_be_loaded_is_no_experiment(world, conductor, book):
    world.damaged = {"1.1.0"}
    with pytest.raises(UnusableVersionError, match="sha256"):
        await conductor.create(definition())
    with pytest.raises(NotRegisteredError):
        await conductor.create(definition(treatment_model_version="9.9.9"))
    assert (book.stored, dividing(world)) == ({}, {})


async def test_a_second_experiment_on_the_model_is_refused_with_the_reason(world, conductor):
    await conductor.create(definition())
    with pytest.raises(ExperimentConflictError, match="'a_b' is running on model 'toy'"):
        await conductor.create(definition(experiment_id="c", treatment_model_version="1.2.0"))
    assert "toy:1.2.0" not in world.running
    await conductor.stop("a_b")
    with pytest.raises(ExperimentConflictError, match="exists already"):
        await conductor.create(definition())


async def test_the_models_own_dead_band_is_taken_where_none_is_given(world, conductor):
    for number, each in world.versions.items():
        world.versions[number] = each.model_copy(update={"dataset_info": {"dead_band": 0.001}})
    assert (await conductor.create(definition())).dead_band == 0.001
    await conductor.stop("a_b")
    given = await conductor.create(definition(experiment_id="c", dead_band=0.0))
    assert given.dead_band == 0.0


async def test_variants_of_different_windows_cannot_answer_the_same_requests(world, conductor):
    other = world.versions["1.1.0"].model_copy(update={"input_shape": (5, 2)})
    world.versions["1.1.0"] = other
    with pytest.raises(InvalidRequestError, match=r"control's input shape, \(3, 2\)"):
        await conductor.create(definition())


async def test_a_stopped_experiment_divides_nothing_and_keeps_its_first_end(
    world, conductor, book, clock
):
    await conductor.create(definition())
    final = await conductor.stop("a_b")
    assert (final["status"], dividing(world)) == ("completed", {})
    assert book.actions() == ["created", "stopped"]
    assert book.entries["a_b"][-1].details["analysis"] == final
    assert await conductor.stop("a_b") == final
    assert book.actions() == ["created", "stopped"]
    with pytest.raises(NoSuchExperimentError):
        await conductor.stop("other")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"auto_apply": True}, "horizon_s: expected the time for which a position is held"),
        ({"duration_hours": 1, "horizon_s": 3600}, "horizon_s: expected less than"),
        ({"duration_hours": 1e300}, "duration_hours: expected at most 87,840 hours"),
    ],
)
async def test_what_cannot_end_in_a_verdict_to_act_on_is_refused(conductor, book, fields, words):
    with pytest.raises(InvalidRequestError, match=words):
        await conductor.create(definition(**fields))
    assert book.stored == {}


@pytest.mark.parametrize("declared", [(0.001, 0.002), (math.nan, math.nan), (True, True), (-1, -1)])
async def test_dead_bands_that_disagree_or_are_none_are_refused(world, conductor, declared):
    for version, value in zip(("1.0.0", "1.1.0"), declared, strict=True):
        world.versions[version] = world.versions[version].model_copy(
            update={"dataset_info": {"dead_band": value}}
        )
    with pytest.raises(InvalidRequestError, match="dead_band: expected to be stated, or"):
        await conductor.create(definition())
    assert (await conductor.create(definition(dead_band=0.5))).dead_band == 0.5


async def test_an_automatic_promotion_across_models_is_refused_at_once(world, conductor):
    with pytest.raises(InvalidRequestError, match="expected two versions of one model"):
        await conductor.create(
            definition(auto_apply=True, horizon_s=60, treatment_model_name="other")
        )


async def test_what_the_book_says_is_put_right_after_a_death_in_between(
    world, conductor, book, clock, promoted
):
    """Written down and not yet divided; ended and still divided."""
    await book.create(definition(), BEGINNING)
    await conductor.tend()
    assert (dividing(world), "toy:1.1.0" in world.running) == ({"a_b": 0.1}, True)
    entry = HistoryEntry(time=BEGINNING, action="stopped", details={})
    await book.end("a_b", EndReason.STOPPED, {}, entry)
    await conductor.tend()
    assert dividing(world) == {}


async def test_a_book_that_does_not_answer_stops_nothing(world, conductor, book):
    await conductor.create(definition())

    async def away():
        raise NoSuchExperimentError("", "the log is away")

    book.running = away
    task = asyncio.create_task(conductor.tend_for_ever())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    assert dividing(world) == {"a_b": 0.1}
