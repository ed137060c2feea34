"""Writers in many processes lose nothing, and who looks meanwhile never sees a half-done change."""

from collections import Counter
from datetime import datetime
from itertools import pairwise

import pytest

from registry import ModelStage
from registry.folder import inspection
from registry.records import Action
from tests.registry.forker import Task, open_writer
from tests.registry.model import NAME, apply, replay, write_sources

WRITERS = 8
READERS = 2
RACES = {
    "StageHeldError",
    "UnknownVersionError",
    "NothingToRollBackError",
}
"""How a change may be refused because another one came first."""


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.nightly)])
def test_eight_writers_lose_nothing_and_readers_always_see_one_production_version(
    forker, tmp_path, seconds
):
    """Everything acknowledged has its one line in the history, and the history leads to the end.

    Replayed in its order, every change is one that the rules allow, so the writers took turns.
    """
    root, sources = tmp_path / "models", write_sources(tmp_path / "sources")
    registry = open_writer(root)
    for operation in (("register", "0.1.0", "a"), ("stage", "0.1.0", "Production")):
        apply(registry, sources, operation, reason=operation[0])
    where = {"root": str(root), "seconds": seconds}
    writers = [
        Task("write_at_random", {**where, "sources": str(sources), "worker": worker})
        for worker in range(1, WRITERS + 1)
    ]
    outcomes = forker.run(*writers, *[Task("watch", where)] * READERS)

    looked = [each for outcome in outcomes[WRITERS:] for each in outcome.yielded]
    assert [each["problem"] for each in looked if "problem" in each] == []
    assert all(each["looks"] > 10 for each in looked)

    attempts = [each for outcome in outcomes[:WRITERS] for each in outcome.yielded]
    assert {each["refused"] for each in attempts} <= {None, *RACES}
    history = registry.history(NAME)
    lines = Counter(entry.reason for entry in history[2:])
    assert set(lines.values()) == {1}
    acknowledged = {each["reason"]: each for each in attempts if each["refused"] is None}
    assert lines.keys() <= acknowledged.keys()
    holders = replay(history)
    for reason in acknowledged.keys() - lines.keys():
        assert was_so_already(acknowledged[reason], history, holders)

    assert all(earlier.time < later.time for earlier, later in pairwise(history))
    deleted = {entry.version for entry in history if entry.action is Action.DELETED}
    registered = {entry.version for entry in history if entry.action is Action.REGISTERED}
    assert set(registry.versions(NAME)) == registered - deleted
    last = [entry for entry in history if entry.to_stage is ModelStage.PRODUCTION][-1]
    for version in registered - deleted:
        found = registry.get(NAME, version).metadata
        assert (found.stage is ModelStage.PRODUCTION) == (version == last.version)
    assert inspection.verify(registry) == []


def was_so_already(attempt, history, holders):
    """Whether the version held the stage at some time while it was given it without a line.

    What one line tells of is seen until the next change is committed, and that is before the time
    of the line after.
    """
    verb, version, stage = attempt["operation"]
    began, ended = (datetime.fromisoformat(attempt[key]) for key in ("began", "ended"))
    assert verb == "stage"
    until = [entry.time for entry in history[2:]] + [ended, ended]
    return any(
        held.get(stage) == version and entry.time <= ended and began <= end
        for entry, held, end in zip(history, holders, until, strict=True)
    )
