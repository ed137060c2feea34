"""A router waits for the predictions of the bars that it has stored."""

from serve_app.bars.pushes import PushReport
from serve_app.live.noted_bars import NotedBars


class Store:
    """Stores everything, and returns the names of what is read."""

    report = PushReport(accepted=1, newest=(("A", "1h", 3_600_000),))

    async def append(self, pushes):
        return self.report

    async def append_stream(self, body, symbol, timeframe):
        return self.report

    async def query(self, query):
        return query, "page"

    async def query_stream(self, query):
        return query, "stream"

    async def symbols(self):
        return ["A"]


class Table:
    """Notes commits."""

    def __init__(self):
        self.commits = []

    def note_commits(self, commits):
        self.commits += commits


async def test_noted():
    """Each push is noted once it is committed; reads are passed on."""
    table = Table()
    bars = NotedBars(Store(), table)
    assert await bars.append([]) is Store.report
    assert await bars.append_stream(b"", None, None) is Store.report
    assert table.commits == [("A", "1h", 3_600_000)] * 2
    assert await bars.query("q") == ("q", "page")
    assert await bars.query_stream("q") == ("q", "stream")
    assert await bars.symbols() == ["A"]
