"""Rounds in which all take turns, so that a busy moment of the machine meets everyone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from benchmarks.serving_peers.checking import (
    Answer,
    ask,
    require_equal,
    wait_until_ready,
)
from benchmarks.serving_peers.contestants import Entry
from benchmarks.serving_peers.requests import windows
from benchmarks.serving_peers.running import Running
from benchmarks.serving_peers.wrk import Load, NoAnswerError, Request, run_wrk

CHECKED_WINDOWS = 4
WAKING_LOADS = 20
"""Of a second each."""

STARTED_S = 1.0
"""How long a server runs on once it answers: what starts it may still be at work in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One load on one server."""

    entry: Entry
    round: int
    concurrency: int
    load: Load
    cpu_ms: float
    """Processor time of all its processes, per request."""

    def as_json(self) -> dict[str, object]:
        """Return it for a file."""
        return {
            "contestant": self.entry.contestant,
            "entry": self.entry.name,
            "round": self.round,
            "concurrency": self.concurrency,
            "cpu_ms_per_request": self.cpu_ms,
            **self.load.as_json(),
        }


class Field:
    """The servers of all entries, started and held still.

    Args:
        servers: by `Entry.server`.
        settle_s: how long a server runs again before it is measured; one of many processes has to
            catch up with what it missed.
    """

    def __init__(
        self, entries: Sequence[Entry], servers: Mapping[str, Running], settle_s: float
    ) -> None:
        self._servers = servers
        self._settle_s = settle_s
        self.entries = entries
        self.without_answers: list[tuple[int, str, int]] = []
        """Rounds, ways and concurrencies of loads during which nothing was answered."""
        self._check(entries)

    @contextmanager
    def going(self, entry: Entry) -> Iterator[Running]:
        """Let one server run, and no other, until the context closes."""
        running = self._servers[entry.server]
        running.resume()
        try:
            time.sleep(self._settle_s)
            wait_until_ready(running.url, entry.encode(windows(1)[0]))
            yield running
        finally:
            running.pause()

    def round(
        self, number: int, entries: Sequence[Entry], concurrencies: Sequence[int], seconds: int
    ) -> Iterator[Sample]:
        """Measure every entry; every other round goes backwards."""
        window = windows(1)[0]
        for entry in entries if number % 2 else reversed(entries):
            request = entry.encode(window)
            with self.going(entry) as running:
                wake(running, request)
                for concurrency in concurrencies:
                    try:
                        load, cpu_ms = loaded(running, request, concurrency, seconds)
                    except NoAnswerError:
                        # As BentoML's batching does now and then; the round is without this way.
                        typer.echo(f"  round {number}  {entry.name} c={concurrency}: no answer")
                        self.without_answers.append((number, entry.name, concurrency))
                        continue
                    yield Sample(
                        entry=entry,
                        round=number,
                        concurrency=concurrency,
                        load=load,
                        cpu_ms=cpu_ms,
                    )

    def _check(self, entries: Sequence[Entry]) -> None:
        """Raise where a server refuses its requests, or answers anything else than the others."""
        answers: dict[str, list[Answer]] = {}
        for entry in entries:
            with self.going(entry) as running:
                requests = map(entry.encode, windows(CHECKED_WINDOWS))
                answers[entry.name] = [ask(running.url, request) for request in requests]
                # Each of several workers has answered before it counts.
                run_wrk(running.url, entry.encode(windows(1)[0]), 32, 1)
        require_equal(answers)


def wake(running: Running, request: Request) -> None:
    """Load a server that was held still until it answers as usual again; raise where it does not.

    BentoML's batching takes the time in which it stood still for that of a request, and waits for
    batch-mates that long, once.
    """
    for _ in range(WAKING_LOADS - 1):
        try:
            run_wrk(running.url, request, 32, 1)
        except NoAnswerError:
            continue
        return
    run_wrk(running.url, request, 32, 1)


def loaded(
    running: Running, request: Request, concurrency: int, seconds: int
) -> tuple[Load, float]:
    """Load a server that goes; return what came of it, and its processor time in ms a request."""
    before_s = running.cpu_s()
    load = run_wrk(running.url, request, concurrency, seconds)
    return load, (running.cpu_s() - before_s) * 1e3 / load.requests


@contextmanager
def running_field(entries: Sequence[Entry], model: Path, settle_s: float) -> Iterator[Field]:
    """Start every server and hold it still; end all when the context closes.

    Raises:
        UnequalAnswersError: they do not answer the same.
        RefusedError: one does not take its requests.
    """
    with ExitStack() as stack:
        servers: dict[str, Running] = {}
        for entry in entries:
            if entry.server not in servers:
                running = stack.enter_context(entry.start(model))
                stack.callback(running.resume)
                time.sleep(STARTED_S)
                running.pause()
                servers[entry.server] = running
                typer.echo(f"  started {entry.server}")
        yield Field(entries, servers, settle_s)
