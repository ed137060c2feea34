"""Runs tasks in processes of their own, forked from a small one so that each costs milliseconds.

`Forker` is the test's side; run as a module, this is the small process. A task is a generator by
its name; what it yields is kept even when it is killed before it ends.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from registry import ModelStage, errors
from registry.folder import atomic_io, inspection
from registry.folder.reader import RegistryReader
from registry.folder.serving_artifacts import ServingWriter
from testkit.paths import ROOT
from tests.registry.model import NAME, Operation, apply

Yielded = dict[str, Any]


@dataclass(frozen=True)
class Task:
    run: str
    """Name of one of the functions below that are listed in _TASKS."""
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    yielded: list[Yielded]
    signal: int
    """What killed the process, 0 when nothing did."""


class Forker:
    """Starts the small process; closing it ends it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *tasks: Task, kill_after_s: float | None = None) -> list[Outcome]:
        """Run all tasks at once; a task that fails by itself fails the test."""
        request = {"tasks": [asdict(task) for task in tasks], "kill_after_s": kill_after_s}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        outcomes = [Outcome(**each) for each in json.loads(self._process.stdout.readline())]
        assert {outcome.signal for outcome in outcomes} <= {0, signal.SIGKILL}, "see stderr"
        return outcomes


def open_writer(root: str | Path) -> ServingWriter:
    return ServingWriter(Path(root), check=lambda *_: None)


def write(root: str, sources: str, operations: list[Operation]) -> Iterator[Yielded]:
    """Do one operation after the other, acknowledging each."""
    registry = open_writer(root)
    for operation in operations:
        apply(registry, Path(sources), operation)
        yield {"acknowledged": operation}


def write_and_die(root: str, sources: str, operation: Operation, step: int) -> Iterator[Yielded]:
    """Do one operation and be killed before its step number `step`, if it has as many."""
    registry = open_writer(root)
    _die_before(step)
    if operation == ["repair"]:
        inspection.repair(registry)
    else:
        apply(registry, Path(sources), operation)
    yield {"acknowledged": operation}


def write_at_random(root: str, sources: str, worker: int, seconds: float) -> Iterator[Yielded]:
    """Change what comes to hand, with a reason of its own for every attempt."""
    chance = random.Random(worker)
    registry = open_writer(root)
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        number += 1
        operation = _any_operation(chance, registry.versions(NAME), f"{worker}.{number}.0")
        reason = f"{worker}-{number}"
        began = datetime.now(UTC)
        refused = None
        try:
            apply(registry, Path(sources), operation, reason)
        except errors.RegistryError as error:
            refused = type(error).__name__
        yield {
            "operation": operation,
            "reason": reason,
            "began": began.isoformat(),
            "ended": datetime.now(UTC).isoformat(),
            "refused": refused,
        }


def watch(root: str, seconds: float) -> Iterator[Yielded]:
    """Look all the time, with a reader that remembers and with new ones; tell what was wrong."""
    lasting = RegistryReader(Path(root))
    until = time.monotonic() + seconds
    looks = 0
    while time.monotonic() < until:
        for reader in (lasting, RegistryReader(Path(root))):
            looks += 1
            try:
                _look(reader)
            except Exception:  # noqa: BLE001 - whatever a reader meets is the finding
                yield {"problem": traceback.format_exc()}
    yield {"looks": looks}


def _look(reader: RegistryReader) -> None:
    stages = [info.metadata.stage for info in reader.list_versions(NAME)]
    assert stages.count(ModelStage.PRODUCTION) == 1, stages
    assert stages.count(ModelStage.STAGING) <= 1, stages
    found = reader.get(NAME, stage=ModelStage.PRODUCTION).metadata
    assert found.stage is ModelStage.PRODUCTION
    assert reader.get(NAME).metadata.stage is ModelStage.PRODUCTION
    with suppress(errors.EmptyStageError):
        assert reader.get(NAME, stage=ModelStage.STAGING).metadata.stage is ModelStage.STAGING
    entries = reader.history(NAME)
    assert len({entry.id for entry in entries}) == len(entries)


def _any_operation(chance: random.Random, versions: list[str], new: str) -> Operation:
    version = chance.choice(versions)
    return chance.choice(
        [
            ("register", new, "a"),
            ("register", new, "b"),
            ("stage", version, "Production"),
            ("stage", version, "Production"),
            ("stage", version, "Staging"),
            ("stage", version, "None"),
            ("retire", version),
            ("rollback",),
            ("delete", version),
            ("update_metrics", version, {"accuracy": chance.random()}),
        ]
    )


_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"}


def _die_before(step: int) -> None:
    """Kill this process before its `step`-th line in `atomic_io` or change of a folder.

    Nothing else changes the disk: between two such steps it stays as it is.
    """
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def trace_lines(_frame: object, event: str, _argument: object) -> Callable[..., Any]:
        if event == "line":
            count()
        return trace_lines

    def trace(frame: Any, _event: str, _argument: object) -> Callable[..., Any] | None:
        return trace_lines if frame.f_code.co_filename == atomic_io.__file__ else None

    sys.addaudithook(lambda event, _: count() if event in _CHANGES else None)
    sys.settrace(trace)


_TASKS = {each.__name__: each for each in (write, write_and_die, write_at_random, watch)}


def _fork(task: Yielded, output: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        for value in _TASKS[task["run"]](**task["arguments"]):
            os.write(output, json.dumps(value).encode() + b"\n")
    except BaseException:  # noqa: BLE001 - the child must not return into its parent's loop
        traceback.print_exc()
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0)


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        outputs = [tempfile.TemporaryFile() for _ in request["tasks"]]  # noqa: SIM115
        children = [
            _fork(task, output.fileno())
            for task, output in zip(request["tasks"], outputs, strict=True)
        ]
        if request["kill_after_s"] is not None:
            time.sleep(request["kill_after_s"])
            for child in children:
                os.kill(child, signal.SIGKILL)
        reply = []
        for child, output in zip(children, outputs, strict=True):
            _, status = os.waitpid(child, 0)
            output.seek(0)
            whole, _, _torn = output.read().rpartition(b"\n")
            output.close()
            yielded = [json.loads(each) for each in whole.splitlines()]
            reply.append({"yielded": yielded, "signal": os.WTERMSIG(status)})
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    _serve()
