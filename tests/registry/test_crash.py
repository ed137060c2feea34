"""A writer killed at any moment leaves a registry that is right, with all it had acknowledged."""

import copy
import random
import re
import shutil
import signal

import pytest

from registry import ModelStage
from registry.folder import inspection
from tests.registry.forker import Task, open_writer
from tests.registry.model import (
    Refused,
    RegistryModel,
    apply,
    assert_same,
    snapshot,
    write_sources,
)

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
"""Every kind of change, also those that take a stage away from a version."""


@pytest.fixture
def sources(memory_path):
    return write_sources(memory_path / "sources")


def after(model, *operations):
    """Return a copy of the model to which the operations were applied."""
    changed = copy.deepcopy(model)
    for operation in operations:
        changed.apply(operation)
    return changed


def look(root):
    """Return what is in the folder, but for ids and times, which every run has its own of."""
    return re.sub(r"[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z", "…", repr(snapshot(root)))


def find_state(root, *candidates):
    """Return the candidate that the registry is in, seen by a reader that never saw it before."""
    told = len(open_writer(root).history("toy")) if (root / "toy").is_dir() else 0
    model = next(each for each in candidates if len(each.lines) == told)
    assert_same(open_writer(root), model)
    return model


def assert_mended(root, model):
    """Repair leaves nothing to find, and everything as it was."""
    registry = open_writer(root)
    inspection.repair(registry)
    assert inspection.verify(registry) == []
    assert_same(registry, model)
    assert_same(open_writer(root), model)


def assert_writable(root, sources, model):
    """The next writer goes on as if nothing had happened, and what it does counts."""
    registry = open_writer(root)
    for operation in (["register", "9.0.0", "a"], ["stage", "9.0.0", "Production"]):
        apply(registry, sources, operation)
        model = after(model, operation)
    assert_same(registry, model)
    assert_mended(root, model)


@pytest.mark.parametrize(
    "number", range(len(CYCLE)), ids=lambda number: "-".join(CYCLE[number][:2])
)
def test_killed_before_any_step_of_a_change_it_happened_or_did_not(
    forker, memory_path, sources, number
):
    """Every line of registry.folder.atomic_io and every change of a folder is a step."""
    *before, operation = CYCLE[: number + 1]
    old = after(RegistryModel(), *before)
    new = after(old, operation)
    original = memory_path / "original"
    original.mkdir()
    for each in before:
        apply(open_writer(original), sources, each)
    happened = set()
    states = set()
    for step in range(1, 1000):
        root = memory_path / f"killed-{step}"
        shutil.copytree(original, root, symlinks=True)
        arguments = {"root": str(root), "sources": str(sources), "operation": operation}
        (outcome,) = forker.run(Task("write_and_die", {**arguments, "step": step}))
        if outcome.signal == 0:
            break
        if (looks := look(root)) in states:
            continue  # a step that changed nothing
        states.add(looks)
        state = find_state(root, old, new)
        happened.add(state is new)
        again = memory_path / f"again-{step}"
        shutil.copytree(root, again, symlinks=True)
        assert_mended(root, state)
        assert_writable(again, sources, state)
    assert outcome.yielded == [{"acknowledged": operation}]
    assert_same(open_writer(root), new)
    assert happened == {False, True}


@pytest.mark.parametrize(
    "number", [1, 4, 6, 12, 13], ids=lambda number: "-".join(CYCLE[number][:2])
)
@pytest.mark.nightly
def test_killed_while_mending_what_a_killed_writer_left(forker, memory_path, sources, number):
    """Whatever the first one left, a repair killed before any of its steps loses nothing."""
    *before, operation = CYCLE[: number + 1]
    old = after(RegistryModel(), *before)
    original = memory_path / "original"
    original.mkdir()
    for each in before:
        apply(open_writer(original), sources, each)
    states = set()
    for step in range(1, 1000):
        left = memory_path / f"left-{step}"
        shutil.copytree(original, left, symlinks=True)
        arguments = {"sources": str(sources), "operation": operation, "step": step}
        (outcome,) = forker.run(Task("write_and_die", {**arguments, "root": str(left)}))
        if outcome.signal == 0:
            break
        if (looks := look(left)) in states:
            continue
        states.add(looks)
        state = find_state(left, old, after(old, operation))
        for second in range(1, 1000):
            root = memory_path / f"killed-{step}-{second}"
            shutil.copytree(left, root, symlinks=True)
            arguments = {"root": str(root), "sources": str(sources), "operation": ["repair"]}
            (outcome,) = forker.run(Task("write_and_die", {**arguments, "step": second}))
            assert_same(open_writer(root), state)
            assert_mended(root, state)
            shutil.rmtree(root)
            if outcome.signal == 0:
                break
        shutil.rmtree(left)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 11))]
)
def test_killed_fifty_times_at_random_instants_nothing_acknowledged_is_lost(
    forker, memory_path, sources, seed
):
    """One writer after the other works on the folder that the one before was killed over."""
    chance = random.Random(seed)
    root = memory_path / "models"
    model = RegistryModel()
    kills = 0
    while kills < 50:
        operations = plan(chance, model, count=200)
        task = Task("write", {"root": str(root), "sources": str(sources), "operations": operations})
        (outcome,) = forker.run(task, kill_after_s=chance.uniform(0, 0.1))
        kills += outcome.signal == signal.SIGKILL
        done = [each["acknowledged"] for each in outcome.yielded]
        assert done == operations[: len(done)]
        model = after(model, *done)
        in_flight = operations[len(done) : len(done) + 1]
        model = find_state(root, model, after(model, *in_flight))
        if chance.random() < 0.5:
            assert_mended(root, model)
    assert_mended(root, model)
    assert len(model.lines) > 100


def plan(chance, model, count):
    """Return operations that each change something, from where the model stands."""
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
        told = len(model.lines)
        try:
            model.apply(operation)
        except Refused:
            continue
        if len(model.lines) > told:
            operations.append(operation)
    return operations
