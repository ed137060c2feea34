"""Concurrent writers lose nothing, and concurrent readers never see a partial change."""

from collections import Counter
from datetime import datetime
from itertools import pairwise

import pytest

from registry import ModelStage
from registry.folder import inspection
from registry.records import Action
from tests.registry.crash_harness import Task, open_folder
from tests.registry.reference_model import NAME, apply, replay, write_sources

pytestmark = pytest.mark.slow

WRITERS = 8
READERS = 2
RACES = {
    "StageHeldError",
    "UnknownVersionError",
    "NothingToRollBackError",
}
"""The errors of a change that another one preceded."""


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.nightly)])
def test_concurrent_writers_and_readers(fork_server, tmp_path, seconds):
    """Every acknowledged change has one line in the history, and the history leads to the state.

    Replayed in its order, the history contains only changes that the rules allow, so the writers
    excluded each other. Readers always see exactly one production version.
    """
    root, sources = tmp_path / "models", write_sources(tmp_path / "sources")
    folder = open_folder(root)
    for operation in (("register", "0.1.0", "a"), ("stage", "0.1.0", "Production")):
        apply(folder, sources, operation, reason=operation[0])
    where = {"root": str(root), "seconds": seconds}
    writers = [
        Task("write_at_random", {**where, "sources": str(sources), "worker": worker})
        for worker in range(1, WRITERS + 1)
    ]
    outcomes = fork_server.run(*writers, *[Task("watch", where)] * READERS)

    watched = [value for outcome in outcomes[WRITERS:] for value in outcome.yielded]
    assert [value["problem"] for value in watched if "problem" in value] == []
    assert all(value["reads"] > 10 for value in watched)

    attempts = [value for outcome in outcomes[:WRITERS] for value in outcome.yielded]
    assert {attempt["rejected"] for attempt in attempts} <= {None, *RACES}
    history = folder.reader.history(NAME)
    lines = Counter(entry.reason for entry in history[2:])
    assert set(lines.values()) == {1}
    acknowledged = {
        attempt["reason"]: attempt for attempt in attempts if attempt["rejected"] is None
    }
    assert lines.keys() <= acknowledged.keys()
    holders = replay(history)
    for reason in acknowledged.keys() - lines.keys():
        assert was_in_stage_already(acknowledged[reason], history, holders)

    assert all(earlier.time < later.time for earlier, later in pairwise(history))
    deleted = {entry.version for entry in history if entry.action is Action.DELETED}
    registered = {entry.version for entry in history if entry.action is Action.REGISTERED}
    assert set(folder.reader.files.versions(NAME)) == registered - deleted
    last = [entry for entry in history if entry.to_stage is ModelStage.PRODUCTION][-1]
    for version in registered - deleted:
        found = folder.reader.get(NAME, version).metadata
        assert (found.stage is ModelStage.PRODUCTION) == (version == last.version)
    assert inspection.verify(folder) == []


def was_in_stage_already(attempt, history, holders):
    """Return whether the version was in the stage at some time during the attempt.

    The state after an entry is visible until the next change is committed, which is before the
    time of the entry after that.
    """
    verb, version, stage = attempt["operation"]
    began, ended = (datetime.fromisoformat(attempt[key]) for key in ("began", "ended"))
    assert verb == "stage"
    until = [entry.time for entry in history[2:]] + [ended, ended]
    return any(
        held.get(stage) == version and entry.time <= ended and began <= end
        for entry, held, end in zip(history, holders, until, strict=True)
    )
