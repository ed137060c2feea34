"""A process that writes groups, acknowledges each, and is killed."""

import itertools
import multiprocessing
import os
import signal
from contextlib import suppress

from sqlalchemy import Engine, event

from serve_app.experiments.records import Outcome
from serve_app.experiments.store import ExperimentStore

_CONTEXT = multiprocessing.get_context("forkserver")
# Imported once, not by every process: what opening a store imports lazily takes half a second.
_CONTEXT.set_forkserver_preload([__name__, "serve_app.experiments.store.migration", "psycopg"])


class Writer:
    """Writes groups in a process of its own, and acknowledges each when the store has returned."""

    def __init__(self, url, groups, dies_before=None):
        self._acknowledged, sends = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_write, args=(url, groups, dies_before, sends))
        self._process.start()
        sends.close()

    def wait_for_first(self):
        """Return once the first group is acknowledged."""
        assert self._acknowledged.poll(60)

    def kill(self):
        self._process.kill()

    def end(self):
        """Wait for its end; return the number of acknowledged groups and whether it was killed."""
        acknowledged = 0
        with suppress(EOFError):
            while True:
                self._acknowledged.recv()
                acknowledged += 1
        self._process.join(60)
        assert self._process.exitcode in (0, -signal.SIGKILL), "see stderr"
        return acknowledged, self._process.exitcode != 0


def send(store, group):
    """Write a group of predictions, or of outcomes."""
    if isinstance(group[0], Outcome):
        return store.record_outcomes(group)
    return store.write_predictions(group)


def start_together(function, count, *args):
    """Run a function in several processes at once; return their exit codes."""
    barrier = _CONTEXT.Barrier(count)
    processes = [_CONTEXT.Process(target=function, args=(barrier, *args)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def _write(url, groups, dies_before, acknowledges):
    step = _stepper(dies_before)
    with ExperimentStore(url) as store:
        for group in groups:
            send(store, group)
            step()
            acknowledges.send(None)


def _stepper(dies_before):
    """Return a function to call between statements; the process dies in the call of that number."""
    numbers = itertools.count(1)

    def step(*_):
        if next(numbers) == dies_before:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)  # comes before the database commits
    return step
