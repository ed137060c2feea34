"""Interleaved rounds, so that a busy moment of the machine meets every contestant."""

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
"""The number of loads of one second each."""

STARTED_S = 1.0
"""The time for which a server runs on once it responds: its start may not have ended yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One load on one server."""

    entry: Entry
    round: int
    concurrency: int
    load: Load
    cpu_ms: float
    """The processor time of all its processes per request."""

    def as_json(self) -> dict[str, object]:
        """Return the sample as JSON."""
        return {
            "contestant": self.entry.contestant,
            "entry": self.entry.name,
            "round": self.round,
            "concurrency": self.concurrency,
            "cpu_ms_per_request": self.cpu_ms,
            **self.load.as_json(),
        }


class Field:
    """The servers of all entries, started and suspended.

    Args:
        servers: by `Entry.server`.
        settle_s: time for which a resumed server runs before it is measured; one with many
        processes
            has to catch up.
    """

    def __init__(
        self, entries: Sequence[Entry], servers: Mapping[str, Running], settle_s: float
    ) -> None:
        self._servers = servers
        self._settle_s = settle_s
        self.entries = entries
        self.without_answers: list[tuple[int, str, int]] = []
        """The rounds, entries and concurrencies of loads without a response."""
        self._check(entries)

    @contextmanager
    def going(self, entry: Entry) -> Iterator[Running]:
        """Resume one server, and no other, until the context closes."""
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
        """Measure every entry; every other round runs backwards."""
        window = windows(1)[0]
        for entry in entries if number % 2 else reversed(entries):
            request = entry.encode(window)
            with self.going(entry) as running:
                wake(running, request)
                for concurrency in concurrencies:
                    try:
                        load, cpu_ms = loaded(running, request, concurrency, seconds)
                    except NoAnswerError:
                        # BentoML's batching does this now and then; the round lacks this entry.
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
        """Raise where a server rejects its requests or returns other outputs than the others."""
        answers: dict[str, list[Answer]] = {}
        for entry in entries:
            with self.going(entry) as running:
                requests = map(entry.encode, windows(CHECKED_WINDOWS))
                answers[entry.name] = [ask(running.url, request) for request in requests]
                # Each of several workers has responded before it counts.
                run_wrk(running.url, entry.encode(windows(1)[0]), 32, 1)
        require_equal(answers)


def wake(running: Running, request: Request) -> None:
    """Load a resumed server until it responds as usual; raise where it does not.

    BentoML's batching mistakes the time for which it was suspended for that of a request, and waits
    that long, once, for a batch to fill.
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
    """Load a running server; return the load and the processor time per request, in ms."""
    before_s = running.cpu_s()
    load = run_wrk(running.url, request, concurrency, seconds)
    return load, (running.cpu_s() - before_s) * 1e3 / load.requests


@contextmanager
def running_field(entries: Sequence[Entry], model: Path, settle_s: float) -> Iterator[Field]:
    """Start and suspend every server; end all when the context closes.

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
