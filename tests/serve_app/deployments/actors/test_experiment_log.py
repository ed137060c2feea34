"""The experiment log's actor, without Ray."""

import asyncio
import re
import sqlite3
from contextlib import closing

import pytest

from serve_app.deployments.actors import experiment_log
from serve_app.deployments.actors.experiment_log import ExperimentLogActor
from serve_app.errors import StorageUnavailableError
from serve_app.experiments.store_errors import ModelInExperimentError, UnknownExperimentError
from storage import disk_space
from tests.serve_app.experiments.factories import START, definition


async def opened(url):
    actor = ExperimentLogActor.__new__(ExperimentLogActor)
    await actor.__init__(url, keep_days=30)
    return actor


async def problem_of(actor):
    """Return why the log cannot serve, None once it can."""
    try:
        await actor.experiments("one")
    except StorageUnavailableError as error:
        return str(error)
    return None


async def test_an_unavailable_database_is_opened_later(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment_log, "OPENING_S", 0.02)
    actor = await opened(f"sqlite:///{tmp_path}/later/x.db")
    try:
        async with asyncio.timeout(10):
            while "does not exist" not in await problem_of(actor):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            (tmp_path / "later").mkdir()
            while await problem_of(actor) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await actor.experiments("one") == []
    finally:
        await actor.close()


async def test_applications_share_a_database(tmp_path):
    """Each application sees only its own experiments.

    A model is in one experiment of the database.
    """
    actor = await opened(f"sqlite:///{tmp_path}/x.db")
    try:
        await actor.create(definition(), START, "one", "bot", "key 1")
        await actor.create(definition(experiment_id="other"), START, "two", "bot", "key 2")
        for application, name in (("one", "v1_vs_v2"), ("two", "other")):
            for found in (actor.running, actor.experiments):
                listed = [entry.definition.experiment_id for entry in await found(application)]
                assert listed == [name]
        with pytest.raises(UnknownExperimentError):
            await actor.experiment("other", "one")
        with pytest.raises(ModelInExperimentError):
            await actor.create(definition(experiment_id="third"), START, "two", "bot", "key 3")
    finally:
        await actor.close()


async def reaches(actor, problem):
    async with asyncio.timeout(20):
        while not re.search(problem, str(await actor.problem())):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_problem_of_the_storage(tmp_path, monkeypatch, caplog):
    """A locked, a moved and a restored database, and a nearly full disk, each show in the problem,
    without an outcome."""
    monkeypatch.setattr(experiment_log, "CANARY_PERIOD_S", 0.01)
    monkeypatch.setattr(experiment_log, "CANARY_S", 0.2)
    path = tmp_path / "x.db"
    actor = await opened(f"sqlite:///{path}")
    try:
        assert await actor.problem() is None
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await reaches(actor, "a commit takes longer than 0.2 s")
        await reaches(actor, "None")
        path.rename(tmp_path / "elsewhere.db")
        await reaches(actor, "it was moved; move it back")
        (tmp_path / "elsewhere.db").rename(path)
        await reaches(actor, "None")
        with monkeypatch.context() as context:
            context.setattr(disk_space, "RESERVE_BYTES", 1 << 60)
            await reaches(actor, f"MB are free in {tmp_path}; free disk space")
        await reaches(actor, "None")
    finally:
        await actor.close()
    assert caplog.text.count("experiment store has a problem") == 3
