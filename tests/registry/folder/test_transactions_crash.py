"""A writer killed at any instant leaves a consistent registry with every acknowledged change."""

import copy
import random
import re
import shutil
import signal

import pytest

from registry import ModelStage
from registry.folder import inspection
from tests.registry.crash_harness import Task, open_folder
from tests.registry.reference_model import (
    ExpectedError,
    ReferenceModel,
    apply,
    assert_same,
    snapshot,
    write_sources,
)

pytestmark = pytest.mark.slow

CYCLE = [
    ["register", "1.0.0", "a"],
    ["register", "1.1.0", "b"],
    ["stage", "1.0.0", "Production"],
    ["stage", "1.1.0", "Staging"],
    ["stage", "1.1.0", "Production"],
    ["update_metrics", "1.1.0", {"accuracy": 0.5}],
    ["add_artifact", "1.1.0", "a"],
    ["pin_artifact", "1.1.0", "model.pt"],
    ["rollback"],
    ["stage", "1.1.0", "Staging"],
    ["stage", "1.1.0", "None"],
    ["register", "1.2.0", "a"],
    ["stage", "1.2.0", "Staging"],
    ["stage", "1.1.0", "Staging"],
    ["retire", "1.1.0"],
    ["delete", "1.1.0"],
]
"""Every kind of change, including those that take a stage from another version."""


@pytest.fixture
def sources(memory_path):
    return write_sources(memory_path / "sources")


def after(model, *operations):
    """Return a copy of the model with the operations applied."""
    changed = copy.deepcopy(model)
    for operation in operations:
        changed.apply(operation)
    return changed


def state_of(root):
    """Return the folder's content without ids and times, which differ between runs."""
    return re.sub(r"[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z", "…", repr(snapshot(root)))


def find_state(root, *candidates):
    """Return the candidate that a new reader sees in the folder."""
    is_there = (root / "toy").is_dir()
    lines = len(open_folder(root).reader.history("toy")) if is_there else 0
    model = next(candidate for candidate in candidates if len(candidate.lines) == lines)
    assert_same(open_folder(root).reader, model)
    return model


def assert_repaired(root, model):
    """Repair leaves no findings and changes nothing else."""
    folder = open_folder(root)
    inspection.repair(folder)
    assert inspection.verify(folder) == []
    assert_same(folder.reader, model)
    assert_same(open_folder(root).reader, model)


def assert_writable(root, sources, model):
    """The next writer works as if nothing had happened, and its changes count."""
    folder = open_folder(root)
    for operation in (["register", "9.0.0", "a"], ["stage", "9.0.0", "Production"]):
        apply(folder, sources, operation)
        model = after(model, operation)
    assert_same(folder.reader, model)
    assert_repaired(root, model)


@pytest.mark.parametrize(
    "number", range(len(CYCLE)), ids=lambda number: "-".join(CYCLE[number][:2])
)
def test_kill_before_each_step_of_change(fork_server, memory_path, sources, number):
    """A change killed before any step has happened completely or not at all.

    Every line of registry.folder.atomic_io and every change of a folder is a step. After each
    kill, a repair leaves no findings and the next writer can go on.
    """
    *before, operation = CYCLE[: number + 1]
    old = after(ReferenceModel(), *before)
    new = after(old, operation)
    original = memory_path / "original"
    original.mkdir()
    for earlier in before:
        apply(open_folder(original), sources, earlier)
    happened = set()
    states = set()
    for step in range(1, 1000):
        root = memory_path / f"killed-{step}"
        shutil.copytree(original, root, symlinks=True)
        arguments = {"root": str(root), "sources": str(sources), "operation": operation}
        (outcome,) = fork_server.run(Task("write_and_die", {**arguments, "step": step}))
        if outcome.signal == 0:
            break
        if (left := state_of(root)) in states:
            continue  # a step that changed nothing
        states.add(left)
        state = find_state(root, old, new)
        happened.add(state is new)
        again = memory_path / f"again-{step}"
        shutil.copytree(root, again, symlinks=True)
        assert_repaired(root, state)
        assert_writable(again, sources, state)
    assert outcome.yielded == [{"acknowledged": operation}]
    assert_same(open_folder(root).reader, new)
    assert happened == {False, True}


@pytest.mark.parametrize(
    "number", [1, 4, 6, 12, 13], ids=lambda number: "-".join(CYCLE[number][:2])
)
@pytest.mark.nightly
def test_kill_during_repair(fork_server, memory_path, sources, number):
    """A repair that is killed before any of its steps loses nothing, regardless of the leftovers of
    a killed writer."""
    *before, operation = CYCLE[: number + 1]
    old = after(ReferenceModel(), *before)
    original = memory_path / "original"
    original.mkdir()
    for earlier in before:
        apply(open_folder(original), sources, earlier)
    states = set()
    for step in range(1, 1000):
        left = memory_path / f"left-{step}"
        shutil.copytree(original, left, symlinks=True)
        arguments = {"sources": str(sources), "operation": operation, "step": step}
        (outcome,) = fork_server.run(Task("write_and_die", {**arguments, "root": str(left)}))
        if outcome.signal == 0:
            break
        if (content := state_of(left)) in states:
            continue
        states.add(content)
        state = find_state(left, old, after(old, operation))
        for second in range(1, 1000):
            root = memory_path / f"killed-{step}-{second}"
            shutil.copytree(left, root, symlinks=True)
            arguments = {"root": str(root), "sources": str(sources), "operation": ["repair"]}
            (outcome,) = fork_server.run(Task("write_and_die", {**arguments, "step": second}))
            assert_same(open_folder(root).reader, state)
            assert_repaired(root, state)
            shutil.rmtree(root)
            if outcome.signal == 0:
                break
        shutil.rmtree(left)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 11))]
)
def test_fifty_kills_at_random_instants(fork_server, memory_path, sources, seed):
    """No acknowledged change is lost when each writer continues from the state that a killed one
    left."""
    chance = random.Random(seed)
    root = memory_path / "models"
    model = ReferenceModel()
    kills = 0
    while kills < 50:
        operations = plan(chance, model, count=200)
        task = Task("write", {"root": str(root), "sources": str(sources), "operations": operations})
        (outcome,) = fork_server.run(task, kill_after_s=chance.uniform(0, 0.1))
        kills += outcome.signal == signal.SIGKILL
        done = [acknowledgement["acknowledged"] for acknowledgement in outcome.yielded]
        assert done == operations[: len(done)]
        model = after(model, *done)
        in_flight = operations[len(done) : len(done) + 1]
        model = find_state(root, model, after(model, *in_flight))
        if chance.random() < 0.5:
            assert_repaired(root, model)
    assert_repaired(root, model)
    assert len(model.lines) > 100


def plan(chance, model, count):
    """Return operations each of which changes something, starting from the model's state."""
    operations = []
    model = copy.deepcopy(model)
    while len(operations) < count:
        versions = [*model.stages, "0.0.0"]
        version = chance.choice(versions)
        new = f"1.{len(model.lines)}.0"
        operation = chance.choice(
            [
                ["register", new, chance.choice("ab")],
                ["stage", version, chance.choice([*ModelStage])],
                ["stage", version, "Production"],
                ["rollback"],
                ["delete", version],
                ["update_metrics", version, {chance.choice("xyz"): chance.random()}],
            ]
        )
        lines = len(model.lines)
        try:
            model.apply(operation)
        except ExpectedError:
            continue
        if len(model.lines) > lines:
            operations.append(operation)
    return operations
