"""Followers receive every result once, or the newest ones of all symbols."""

import asyncio

from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import Commit, LiveResult, Position
from serve_app.errors import VersionLoadingError
from serve_app.live.publications import Publications
from serve_app.versions import VersionRef

VERSION = VersionRef("toy", "1.0.0")
BAR = Prediction(1, 0.5, None)
LOADING = VersionLoadingError("toy", "1.0.0")


def result(bar_ms, symbol="A", outcome=BAR, version=VERSION):
    return LiveResult(version, symbol, "1h", bar_ms, bar_ms, bar_ms, outcome)


def started(*results, **limits):
    publications = Publications(**limits)
    publications.declare({VERSION: "1h"})
    publications.add(results)
    publications.begin()
    return publications


async def test_first():
    """A follower that begins receives the newest result of every symbol."""
    publications = started(result(1), result(2), result(1, "B"))
    publication = await publications.since(None, 5)
    assert publication.is_whole
    assert publication.timeframes == {VERSION: "1h"}
    assert set(publication.results) == {result(2), result(1, "B")}


async def test_next():
    """A follower receives the results after its position, as soon as there are some."""
    publications = started(result(1))
    position = (await publications.since(None, 5)).position
    waiting = asyncio.create_task(publications.since(position, 5))
    await asyncio.sleep(0.01)
    publications.add([result(2), result(3)])
    publication = await waiting
    assert (publication.results, publication.is_whole) == ((result(2), result(3)), False)
    assert await publications.since(publication.position, 0.01) is None


async def test_not_ready():
    """Nothing is published before all symbols have a result."""
    publications = Publications()
    publications.declare({VERSION: "1h"})
    publications.add([result(1)])
    assert await publications.since(None, 0.01) is None
    publications.begin()
    assert (await publications.since(None, 5)).results == (result(1),)


async def test_missed():
    """A follower that missed results, or followed another process, receives the newest ones."""
    publications = started(max_results=2)
    position = (await publications.since(None, 5)).position
    publications.add([result(bar) for bar in range(1, 4)])
    assert (await publications.since(position, 5)).is_whole
    other = Position("other", 2)
    assert (await publications.since(other, 5)).results == (result(3),)


async def test_once():
    """A prediction is published once per bar; an error until there is a prediction."""
    publications = started(result(1, outcome=LOADING))
    position = (await publications.since(None, 5)).position
    publications.add([result(1, outcome=VersionLoadingError("toy", "1.0.0"))])
    assert await publications.since(position, 0.01) is None
    publications.add([result(1)])
    publications.add([result(1, outcome=Prediction(2, 0.9, None))])
    assert (await publications.since(position, 5)).results == (result(1),)


async def test_versions():
    """A version that leaves takes its results along, and followers learn of it."""
    other = VersionRef("toy", "1.1.0")
    publications = started(result(1))
    position = (await publications.since(None, 5)).position
    publications.add([result(1, version=other)])
    publications.declare({other: "1h"})
    publications.add([result(2, version=other), result(2)])
    publication = await publications.since(position, 5)
    assert (publication.timeframes, publication.results) == (
        {other: "1h"},
        (result(2, version=other),),
    )
    assert publications.is_newest(result(2, version=other))
    assert not publications.is_newest(result(1, version=other))


async def test_commits():
    """A follower learns of a bar before its predictions are made; one that begins does not."""
    publications = started(result(1))
    position = (await publications.since(None, 5)).position
    publications.announce([Commit("A", "1h", 2)])
    publication = await publications.since(position, 5)
    assert (publication.results, publication.commits) == ((), (Commit("A", "1h", 2),))
    assert (await publications.since(None, 5)).commits == ()
