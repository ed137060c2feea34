"""Runs tasks in separate processes that can be killed, forked so that each costs milliseconds.

`ForkServer` is the test's side; run as a module, this file is the small process that forks. A task
is a generator function by its name; what it yields is kept even if it is killed before it ends.
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
from registry.folder.reader import FolderReader
from registry.folder.registry_folder import RegistryFolder
from testkit.paths import ROOT
from tests.registry.reference_model import NAME, Operation, apply

Yielded = dict[str, Any]


@dataclass(frozen=True)
class Task:
    run: str
    """The name of one of the functions in _TASKS."""
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    yielded: list[Yielded]
    signal: int
    """The signal that ended the process, 0 if none did."""


class ForkServer:
    """A small process that forks tasks; leaving its context ends it."""

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
        """Run all tasks concurrently; an error in a task fails the test."""
        request = {"tasks": [asdict(task) for task in tasks], "kill_after_s": kill_after_s}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        outcomes = [Outcome(**reply) for reply in json.loads(self._process.stdout.readline())]
        assert {outcome.signal for outcome in outcomes} <= {0, signal.SIGKILL}, "see stderr"
        return outcomes


def open_folder(root: str | Path) -> RegistryFolder:
    """Open a registry folder whose versions enter a stage without being loaded."""
    return RegistryFolder(Path(root), check=lambda *_: None)


def write(root: str, sources: str, operations: list[Operation]) -> Iterator[Yielded]:
    """Apply the operations in order, and acknowledge each."""
    folder = open_folder(root)
    for operation in operations:
        apply(folder, Path(sources), operation)
        yield {"acknowledged": operation}


def write_and_die(root: str, sources: str, operation: Operation, step: int) -> Iterator[Yielded]:
    """Apply one operation, killed before its step number `step` if it has that many."""
    folder = open_folder(root)
    _die_before(step)
    if operation == ["repair"]:
        inspection.repair(folder)
    else:
        apply(folder, Path(sources), operation)
    yield {"acknowledged": operation}


def write_at_random(root: str, sources: str, worker: int, seconds: float) -> Iterator[Yielded]:
    """Apply random operations, each with a unique reason."""
    chance = random.Random(worker)
    folder = open_folder(root)
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        number += 1
        versions = folder.reader.files.versions(NAME)
        operation = _any_operation(chance, versions, f"{worker}.{number}.0")
        reason = f"{worker}-{number}"
        began = datetime.now(UTC)
        rejected = None
        try:
            apply(folder, Path(sources), operation, reason)
        except errors.RegistryError as error:
            rejected = type(error).__name__
        yield {
            "operation": operation,
            "reason": reason,
            "began": began.isoformat(),
            "ended": datetime.now(UTC).isoformat(),
            "rejected": rejected,
        }


def watch(root: str, seconds: float) -> Iterator[Yielded]:
    """Read continuously, with one lasting reader and with new ones; yield every problem."""
    lasting = FolderReader(Path(root))
    until = time.monotonic() + seconds
    reads = 0
    while time.monotonic() < until:
        for reader in (lasting, FolderReader(Path(root))):
            reads += 1
            try:
                _assert_consistent(reader)
            except Exception:  # noqa: BLE001 - any error of a reader is a finding
                yield {"problem": traceback.format_exc()}
    yield {"reads": reads}


def _assert_consistent(reader: FolderReader) -> None:
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

    Nothing else changes the disk, so it is the same at every instant between two such steps.
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


_TASKS = {task.__name__: task for task in (write, write_and_die, write_at_random, watch)}


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
            yielded = [json.loads(line) for line in whole.splitlines()]
            reply.append({"yielded": yielded, "signal": os.WTERMSIG(status)})
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    _serve()
