"""The commands on bars, on a folder and through a server."""

import asyncio
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features.bar_log import BarLog
from features.bar_log.bar_files import read_blocks
from features.bars import Bars
from features.timeframes import Timeframe
from serve_app.cli import bar_import, bars
from testkit.fake_server import BARS, HEALTH, SYMBOLS, Reply, error
from tests.serve_app.cli.commands import cells, modelctl, modelctl_beside, printed

HOUR_MS = 3_600_000
HOURLY = ("--symbol", "EURUSD", "--timeframe", "1h")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


def write_csv(path: Path, count=50, **columns):
    """Write hourly bars; the row 3 has a high below its low."""
    time = [f"1970-01-{1 + n // 24:02}T{n % 24:02}:00:00Z" for n in range(count)]
    prices = {name: np.ones(count) for name in ("open", "high", "low", "close", "volume")}
    prices["high"][3:4] = 0.5
    pyarrow.csv.write_csv(pa.table({"time": time, **prices, **columns}), path)
    return path


def test_import(folder, tmp_path):
    """An import reports each result and the rejected rows; repeated, all are duplicates."""
    file = write_csv(tmp_path / "bars.csv")
    done = modelctl("bars", "import", file, *HOURLY, "--bar-log", folder)
    assert done.exit_code == 0, done.output
    assert "50 rows: 49 accepted, 0 duplicates, 0 revised, 1 rejected" in done.stdout
    assert f"importing into {folder}" in done.stderr
    assert "row 4: high is less than low" in done.stderr
    again = printed(modelctl("bars", "import", file, *HOURLY, "--bar-log", folder, "--json"))
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, 49, 1)
    assert again["reasons"] == [{"row": 3, "reason": "high is less than low"}]


def test_list_check_export(folder, tmp_path):
    """What was imported is listed, intact, and the same after an export and an import."""
    modelctl("bars", "import", write_csv(tmp_path / "a.csv"), *HOURLY, "--bar-log", folder)
    (entry,) = printed(modelctl("bars", "list", "--bar-log", folder, "--json"))
    assert (entry["symbol"], entry["count"], entry["gaps"]) == ("EURUSD", 49, 1)
    assert "EURUSD" in str(cells(modelctl("bars", "list", "--bar-log", folder)))
    done = modelctl("bars", "check", "--bar-log", folder)
    assert "49 bars of 1 series, no problem" in done.stdout
    exported = tmp_path / "b.parquet"
    assert modelctl("bars", "export", exported, *HOURLY, "--bar-log", folder).exit_code == 0
    restored = tmp_path / "restored"
    modelctl("bars", "import", exported, *HOURLY, "--bar-log", restored)
    again = tmp_path / "c.parquet"
    modelctl("bars", "export", again, *HOURLY, "--bar-log", restored)
    assert pq.read_table(again) == pq.read_table(exported)
    part = tmp_path / "d.csv"
    times = "--from", "1970-01-01T01:00Z", "--to", "1970-01-01T02:00Z"
    done = modelctl("bars", "export", part, *HOURLY, *times, "--bar-log", folder)
    assert "2 rows" in done.stdout


def test_damage(folder, tmp_path):
    """A damaged history fails the check."""
    time = np.arange(30_000) * 60_000
    with BarLog(folder) as log:
        log.append("X", Timeframe.parse("1m"), Bars.of(time, np.ones((5, len(time)))), 1 << 41)
    (part,) = (folder / "history").iterdir()
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 255
    part.write_bytes(content)
    done = modelctl("bars", "check", "--bar-log", folder)
    assert done.exit_code == 1
    assert "1 problems" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("list",), "do not belong to one bar log"),
        (("check",), "do not belong to one bar log"),
        (("import", "missing.csv", *HOURLY), "No such file"),
        (("import", "x.txt", *HOURLY), "its format is unknown"),
        (("import", "x.csv", "--symbol", "a b", "--timeframe", "1h"), "expected a symbol"),
        (("import", "x.csv", "--symbol", "X", "--timeframe", "7m"), "unknown timeframe '7m'"),
        (("export", "x.csv", *HOURLY), "do not belong to one bar log"),
    ],
)
def test_errors(folder, arguments, problem):
    """A command that fails states the reason on one line."""
    done = modelctl("bars", *arguments, "--bar-log", folder)
    assert (done.exit_code, problem in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_open_log(folder, tmp_path):
    """A log that another process writes can be read; an import names the server."""
    file = write_csv(tmp_path / "bars.csv")
    with BarLog(folder):
        done = modelctl("bars", "import", file, *HOURLY, "--bar-log", folder)
        assert "send the bars to the server" in done.stderr
        assert "no bars in" in modelctl("bars", "list", "--bar-log", folder).stdout


async def test_import_through_a_server(server, tmp_path, monkeypatch):
    """A server receives the valid rows in parts; rejected ones keep their position in the file."""
    monkeypatch.setattr(bar_import, "ROWS_PER_BODY", 20)
    received = []

    def count(body):
        rows = len(pa.ipc.open_stream(body).read_all())
        received.append(rows)
        rejected = [{"index": 1, "reason": "no"}]
        return Reply({"accepted": rows - 1, "duplicates": 0, "revised": 0, "rejected": rejected})

    server.script(BARS, count)
    file = write_csv(tmp_path / "bars.csv", 50)
    text = file.read_text().replace("1970-01-01T05:00:00Z", "never")
    file.write_text(text)
    done = await modelctl_beside("bars", "import", file, *HOURLY, "--url", server.url, "--json")
    report = printed(done)
    assert received == [19, 20, 10]
    assert (report["rows"], report["accepted"], report["rejected"]) == (50, 46, 4)
    assert [entry["row"] for entry in report["reasons"]] == [1, 5, 21, 41]
    assert {query["symbol"] for query in server.queries if query} == {"EURUSD"}


async def test_a_running_server(server, folder, tmp_path, monkeypatch):
    """Without an option a server that responds is used, otherwise the folder."""
    monkeypatch.setattr(bars, "DEFAULT_SERVER_URL", server.url)
    monkeypatch.setattr(bars, "PROBE_S", 0.2)
    tmp_path.joinpath("models").mkdir()
    with BarLog(tmp_path / "models" / ".bars"):
        pass
    registry = {"MODELCTL_REGISTRY": str(tmp_path / "models")}
    server.script(HEALTH, Reply({"status": "degraded"}))
    entry = {"symbol": "X", "timeframe": "1h", "first": "a", "last": "b", "count": 1}
    server.script(SYMBOLS, Reply([{**entry, "gaps": 0, "missing": 0, "age_s": 60.0}]))
    assert printed(await modelctl_beside("bars", "list", "--json"))[0]["symbol"] == "X"
    server.script(HEALTH, Reply(error("unavailable", "no"), 503))
    assert "no bars in" in (await modelctl_beside("bars", "list", **registry)).stdout
    both = await modelctl_beside("bars", "list", "--url", server.url, "--bar-log", folder)
    assert both.exit_code == 2


async def test_rejected_by_a_server(server, tmp_path):
    """A server that rejects a part ends the import with its reason."""
    server.script(BARS, Reply(error("missing_role", "the token lacks the role"), 403))
    file = write_csv(tmp_path / "bars.csv")
    done = await modelctl_beside("bars", "import", file, *HOURLY, "--url", server.url)
    assert done.exit_code == 1
    assert "the token lacks the role" in done.stderr


def test_large_blocks(tmp_path, monkeypatch):
    """A block is sent in parts that together are the block, with its known_at."""
    monkeypatch.setattr(bar_import, "ROWS_PER_BODY", 7)
    times = [(n + 1) * HOUR_MS for n in range(20)]
    file = write_csv(tmp_path / "bars.csv", 20, known_at=times)
    sent = []

    class Client:
        server_url = "http://x"

        async def push_stream(self, content, symbol, timeframe):
            table = pa.ipc.open_stream(content).read_all()
            sent.extend(table.column("known_at").cast(pa.int64()).to_pylist())
            return {"accepted": len(table), "duplicates": 0, "revised": 0, "rejected": []}

    done = asyncio.run(
        bar_import.import_through_server(
            Client(), file, "X", Timeframe.parse("1h"), None, lambda _: None
        )
    )
    assert sent == times
    assert (done.rows, done.share) == (20, next(read_blocks(file)).share)
