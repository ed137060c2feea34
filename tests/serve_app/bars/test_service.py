"""The bar log as a service: opened late, watched, compacted, and followed."""

import asyncio
import re
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from features.bar_log import BarLog
from features.bars import Symbol
from features.pushes import Push
from features.timeframes import Timeframe
from serve_app.bars import service as module
from serve_app.bars.queries import BarQuery, HistoryQuery
from serve_app.bars.service import BarLogService
from serve_app.errors import BarsUnavailableError, InvalidRequestError, UnknownSymbolError
from storage import disk_space
from tests.serve_app.bars.pushes import MINUTE_MS, push

NOW_MS = 10_000_000 * MINUTE_MS


async def opened(folder, **arguments):
    service = BarLogService(folder, None, now_ms=lambda: NOW_MS, **arguments)
    await service.open()
    return service


@pytest.fixture
async def service(tmp_path):
    service = await opened(tmp_path / "bars")
    yield service
    await service.close()


async def reaches(service, problem):
    async with asyncio.timeout(20):
        while not re.search(problem, str(await service.problem())):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_push(service):
    """A push is reported once it is committed, and can be queried."""
    report = await service.append([push(1, 2), push(2, symbol="Y")])
    assert (report.accepted, report.duplicates) == (3, 0)
    page = await service.query(BarQuery(symbol="X"))
    assert page.bars.time.tolist() == [MINUTE_MS, 2 * MINUTE_MS]
    assert [status.summary.symbol for status in await service.symbols()] == ["X", "Y"]
    with pytest.raises(UnknownSymbolError, match="use one of these: X, Y"):
        await service.query(BarQuery(symbol="Z"))


async def test_timeframe(service):
    """A query without a timeframe is one of the only one; with several it lists them."""
    await service.append([push(0, 60)])
    hourly = Push(Symbol("X"), Timeframe.parse("1h"), push(0).bars)
    await service.append([hourly])
    with pytest.raises(InvalidRequestError, match="expected one of 1m, 1h"):
        await service.query(BarQuery(symbol="X"))


async def test_pushes_at_once(service):
    """Pushes that arrive together are all acknowledged, each with its own counts."""
    reports = await asyncio.gather(*(service.append([push(i // 2)]) for i in range(100)))
    assert sum(report.accepted for report in reports) == 50
    assert sum(report.duplicates for report in reports) == 50


async def test_opened_later(tmp_path, monkeypatch):
    """While another process writes the log, pushes fail with its reason, and then succeed."""
    monkeypatch.setattr(module, "OPENING_S", 0.02)
    with BarLog(tmp_path / "bars"):
        service = await opened(tmp_path / "bars")
        with pytest.raises(BarsUnavailableError, match="another process writes the bar log"):
            await service.append([push(1)])
        with pytest.raises(BarsUnavailableError):
            await service.symbols()
    await reaches(service, "None")
    assert (await service.append([push(1)])).accepted == 1
    await service.close()


async def test_problem_of_the_storage(service, tmp_path, monkeypatch, caplog):
    """A locked, a moved and a restored database, and a nearly full disk, show in the problem."""
    monkeypatch.setattr(module, "CANARY_PERIOD_S", 0.01)
    monkeypatch.setattr(module, "CANARY_S", 0.3)
    path = tmp_path / "bars" / "bars.db"
    await reaches(service, "None")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await reaches(service, r"a commit takes longer than 0.3 s")
    await reaches(service, "None")
    path.rename(tmp_path / "elsewhere.db")
    await reaches(service, r"it was moved; nothing was acknowledged, move it back")
    with pytest.raises(BarsUnavailableError, match="it was moved"):
        await service.append([push(1)])
    (tmp_path / "elsewhere.db").rename(path)
    await reaches(service, "None")
    with monkeypatch.context() as context:
        context.setattr(disk_space, "RESERVE_BYTES", 1 << 60)
        await reaches(service, "free disk space")
    await reaches(service, "None")
    assert caplog.text.count("bar log has a problem") == 3
    assert (await service.append([push(1)])).accepted == 1


async def test_compaction(tmp_path, monkeypatch):
    """Bars move to the history while pushes continue, and all of them are found."""
    monkeypatch.setattr(module, "COMPACTION_ROWS", 2000)
    service = await opened(tmp_path / "bars")
    for start in range(0, 30_000, 3000):
        await service.append([push(*range(start, start + 3000))])
    async with asyncio.timeout(20):
        while not any((tmp_path / "bars" / "history").iterdir()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    (status,) = await service.symbols()
    assert status.summary.bars == 30_000
    await service.close()


async def test_retention(tmp_path):
    """Bars older than the setting are dropped, and rejected if they are sent again."""
    folder = tmp_path / "bars"
    with BarLog(folder) as log:
        log.append_all([push(*range(25_000))], NOW_MS)
        log.append_all([push(9_999_990)], NOW_MS)
    service = await opened(folder, keep_days=1)
    async with asyncio.timeout(20):
        while (await service.symbols())[0].summary.bars > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    report = await service.append([push(5)])
    assert "retention" in report.rejected[0].reason
    await service.close()


async def test_changes(service):
    """A follower that takes its position first and then reads the log misses no bar."""
    start = await service.changes_since(None, 0)
    assert not start.is_complete
    waiting = asyncio.create_task(service.changes_since(start.cursor, 10))
    await asyncio.sleep(0)
    await service.append([push(1, 2), push(2, symbol="Y")])
    found = await waiting
    assert found.is_complete
    assert [(one.symbol, len(one.stored)) for one in found.changes] == [("X", 2), ("Y", 1)]
    assert found.changes[0].stored.known_at.tolist() == [NOW_MS] * 2
    await service.append([push(1)])  # a duplicate is no change
    nothing = await service.changes_since(found.cursor, 0.01)
    assert (nothing.is_complete, list(nothing.changes)) == (True, [])


async def test_metrics(tmp_path):
    """The results of each commit are passed on."""
    results = []
    service = await opened(tmp_path / "bars", committed=results.extend)
    await service.append([push(1, 2)])
    await service.append([push(1, price=2.0)])
    counts = [(result.accepted, result.revised) for result in results]
    assert counts == [(2, 0), (0, 1)]
    await service.close()


async def test_wrong_clock(tmp_path):
    """Bars from a clock that is ahead are rejected with that reason, and accepted later."""
    now = [NOW_MS]
    service = BarLogService(tmp_path / "bars", None, now_ms=lambda: now[0])
    await service.open()
    ahead = NOW_MS // MINUTE_MS + 90
    report = await service.append([push(ahead)])
    assert "check the clocks" in report.rejected[0].reason
    now[0] += 100 * MINUTE_MS
    assert (await service.append([push(ahead)])).accepted == 1
    now[0] = NOW_MS  # set back: what is stored stays, and a revision is still the later one
    assert (await service.append([push(1)])).accepted == 1
    assert (await service.append([push(1, price=2.0)])).revised == 1
    page = await service.query(BarQuery(symbol="X"))
    assert page.bars.close.tolist() == [2.0, 1.0]
    await service.close()


async def test_half_a_day_missing(service):
    """Missing bars are a gap until they arrive, in any order."""
    await service.append([push(*range(720)), push(*range(1440, 2000))])
    page = await service.query(BarQuery(symbol="X", limit=5000))
    assert [(gap.first_ms // MINUTE_MS, gap.bars) for gap in page.gaps] == [(720, 720)]
    (status,) = await service.symbols()
    assert (status.summary.gaps, status.summary.missing) == (1, 720)
    await service.append([push(*reversed(range(720, 1440)))])
    (status,) = await service.symbols()
    assert (status.summary.gaps, status.summary.missing, status.summary.bars) == (0, 0, 2000)


async def test_flood_of_revisions(service):
    """Revisions without end are all kept, and the last one is returned."""
    for start in range(0, 1000, 500):
        pushes = [push(1, price=float(number)) for number in range(start, start + 500)]
        await service.append(pushes)
    page = await service.query(BarQuery(symbol="X"))
    assert page.bars.close.tolist() == [999.0]
    (status,) = await service.symbols()
    assert status.summary.bars == 1


async def test_history(service):
    """A range has every row, those of bars before it, and a limit; it is returned in parts."""
    await service.append([push(*range(1, 10))])
    query = HistoryQuery(
        symbol="X",
        timeframe=Timeframe.parse("1m"),
        first_ms=4 * MINUTE_MS,
        last_ms=8 * MINUTE_MS,
        before=2,
        bars=3,
        limit=5,
    )
    history = await service.history(query)
    assert (history.rows.time // MINUTE_MS).tolist() == [2, 3, 4, 5, 6]
    assert history.following_ms == 7 * MINUTE_MS
    rest = await service.history(replace(query, first_ms=7 * MINUTE_MS))
    assert (rest.rows.time // MINUTE_MS).tolist() == [5, 6, 7, 8]
    assert rest.following_ms is None
    nothing = await service.history(replace(query, known_at_ms=NOW_MS - 1))
    assert len(nothing.rows) == 0
    with pytest.raises(InvalidRequestError, match="a range of at most 4 bars"):
        await service.history(replace(query, limit=4))
    with pytest.raises(UnknownSymbolError):
        await service.history(replace(query, symbol="Z"))
