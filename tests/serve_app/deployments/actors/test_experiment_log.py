"""The log's actor, without Ray: it outlives a database that is not there."""

import asyncio

import pytest

from serve_app.deployments.actors import experiment_log
from serve_app.deployments.actors.experiment_log import ExperimentLogActor
from serve_app.errors import StorageUnavailableError
from serve_app.experiments.store_errors import ModelInExperimentError, UnknownExperimentError
from tests.serve_app.experiments.factories import START, definition


async def opened(url):
    actor = ExperimentLogActor.__new__(ExperimentLogActor)
    await actor.__init__(url, keep_days=30)
    return actor


async def test_a_database_that_comes_later_is_opened_then(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment_log, "OPENING_S", 0.02)
    actor = await opened(f"sqlite:///{tmp_path}/later/x.db")
    try:
        with pytest.raises(StorageUnavailableError, match="no folder"):
            await actor.experiments("one")
        (tmp_path / "later").mkdir()
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await actor.experiments("one") == []
                    break
                except StorageUnavailableError:
                    await asyncio.sleep(0.01)
    finally:
        await actor.close()


async def test_two_applications_on_one_database_keep_apart(tmp_path):
    actor = await opened(f"sqlite:///{tmp_path}/x.db")
    try:
        await actor.create(definition(), START, "one")
        await actor.create(definition(experiment_id="other"), START, "two")
        for application, name in (("one", "v1_vs_v2"), ("two", "other")):
            for found in (actor.running, actor.experiments):
                listed = [each.definition.experiment_id for each in await found(application)]
                assert listed == [name]
        with pytest.raises(UnknownExperimentError):
            await actor.experiment("other", "one")
        with pytest.raises(ModelInExperimentError):
            await actor.create(definition(experiment_id="third"), START, "two")
    finally:
        await actor.close()
