import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import Rejection, Timeframe
from features.bar_log import bar_files
from features.bar_log.bar_files import read_bars, read_blocks
from features.errors import BarFileError

HEADER = "time,open,high,low,close,volume\n"
NUMBERS = "1,2,0.5,1.5,10"
MONDAY_MS = 1767571200000


def csv(folder, *times, header=HEADER):
    path = folder / "bars.csv"
    path.write_text(header + "".join(f"{time},{NUMBERS}\n" for time in times))
    return path


def parquet(folder, times, **more):
    columns = {name: np.ones(len(times)) for name in ("open", "high", "low", "close", "volume")}
    path = folder / "bars.parquet"
    pq.write_table(pa.table({"time": times, **columns, **more}), path)
    return path


@pytest.mark.parametrize(
    ("time", "zone"),
    [
        ("2026-01-05T00:00:00Z", None),
        ("2026-01-05 00:00:00.000Z", None),
        ("2026-01-05T01:00:00+01:00", None),
        (str(MONDAY_MS), None),
        ("2026-01-05 00:00:00", "UTC"),
        ("2026-01-05", "UTC"),
        ("2026-01-04 19:00:00", "America/New_York"),
    ],
)
def test_csv_times(tmp_path, time, zone):
    """The usual forms of times in CSV denote the same instant."""
    (block,) = read_blocks(csv(tmp_path, time, time), zone)
    assert (block.bars.time.tolist(), block.problems.tolist()) == ([MONDAY_MS] * 2, [0, 0])
    assert block.bars.values[:, 0].tolist() == [1.0, 2.0, 0.5, 1.5, 10.0]
    assert block.known_at is None
    assert block.share == 1.0


def test_mixed_times(tmp_path):
    """Times of which some are invalid are parsed one by one, each with its reason."""
    times = "2026-01-05T00:00:00Z", "2026-01-05T00:00:00", "x", "", str(MONDAY_MS)
    (block,) = read_blocks(csv(tmp_path, *times))
    reasons = [0, Rejection.NO_TIME_ZONE.code, Rejection.NOT_A_TIME.code, Rejection.NOT_A_TIME.code]
    assert block.problems.tolist() == [*reasons, 0]
    assert block.bars.time[[0, 4]].tolist() == [MONDAY_MS] * 2


def test_names(tmp_path):
    """Names are matched without regard to case, and further columns are ignored."""
    header = "Date,Open,High,Low,Close,Volume,Trades\n"
    path = csv(tmp_path, header=header)
    path.write_text(header + f"{MONDAY_MS},{NUMBERS},77\n")
    (block,) = read_blocks(path)
    assert block.bars.volume.tolist() == [10.0]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([MONDAY_MS]),
        pa.array([MONDAY_MS], pa.timestamp("ms", "UTC")),
        pa.array([MONDAY_MS * 1000], pa.timestamp("us", "Europe/Berlin")),
        pa.array([MONDAY_MS * 1_000_000], pa.timestamp("ns", "UTC")),
        pa.array(["2026-01-05T00:00:00Z"]),
    ],
    ids=lambda times: str(times.type),
)
def test_parquet_times(tmp_path, times):
    """Integers, timestamps of any unit and zone, and texts denote the same instant."""
    (block,) = read_blocks(parquet(tmp_path, times))
    assert (block.bars.time.tolist(), block.problems.tolist()) == ([MONDAY_MS], [0])


def test_empty(tmp_path):
    """A file without rows has no blocks."""
    assert list(read_blocks(parquet(tmp_path, pa.array([], pa.int64())))) == []


@pytest.mark.parametrize("group_rows", [1, 30, 100, 250])
def test_row_groups(tmp_path, monkeypatch, group_rows):
    """Small row groups share a block, and large ones are cut; each row is read once, in order."""
    monkeypatch.setattr(bar_files, "BLOCK_ROWS", 100)
    path = parquet(tmp_path, pa.array(range(250)))
    pq.write_table(pq.read_table(path), path, row_group_size=group_rows)
    blocks = list(read_blocks(path))
    assert max(len(block.bars) for block in blocks) <= 100
    assert len(blocks) <= 3 + (group_rows == 30)
    assert np.concatenate([block.bars.time for block in blocks]).tolist() == list(range(250))
    assert blocks[-1].share == 1.0


def test_precise_times(tmp_path):
    """A time between two milliseconds is on no grid, and is not rounded to one."""
    (block,) = read_blocks(parquet(tmp_path, pa.array([1], pa.timestamp("us", "UTC"))))
    assert block.problems.tolist() == [Rejection.NOT_A_TIME.code]


def test_nulls(tmp_path):
    """A missing time is rejected, and a missing price is not a number."""
    times = pa.array([MONDAY_MS, None])
    path = parquet(tmp_path, times, known_at=pa.array([5, 6]))
    table = pq.read_table(path).set_column(1, "open", pa.array([None, 1.0], pa.float64()))
    pq.write_table(table, path)
    (block,) = read_blocks(path)
    assert block.problems.tolist() == [0, Rejection.NOT_A_TIME.code]
    assert np.isnan(block.bars.open[0])
    assert block.known_at.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("bars.txt", b"", "format is unknown"),
        ("bars.csv", b"", "no column time"),
        ("bars.csv", b"time,open,high,low,close\n", "no column volume"),
        ("bars.csv", HEADER.encode() + b"1,x,1,1,1,1\n", "x"),
        ("bars.csv", HEADER.encode() + b"1,1\n", "columns"),
        ("bars.csv", b"\xff\xfe\x00", "decode"),
        ("bars.parquet", b"PAR1", "Parquet|footer|invalid"),
    ],
)
def test_unreadable(tmp_path, name, content, problem):
    """A file that holds no bars is an error that states the problem and the remedy."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BarFileError, match=problem) as raised:
        list(read_blocks(tmp_path / name))
    assert "pass a .csv or .parquet file" in str(raised.value)


def test_missing(tmp_path):
    """A file that does not exist is such an error as well."""
    with pytest.raises(BarFileError, match=r"bars\.csv"):
        list(read_blocks(tmp_path / "bars.csv"))


def test_no_zone(tmp_path):
    """Times of which none has a zone need one; an unknown or ambiguous one is an error."""
    path = parquet(tmp_path, pa.array([MONDAY_MS], pa.timestamp("ms")))
    with pytest.raises(BarFileError, match="pass the zone of the file's times"):
        list(read_blocks(path))
    with pytest.raises(BarFileError, match="Nowhere"):
        list(read_blocks(path, "Europe/Nowhere"))
    with pytest.raises(BarFileError, match="ambiguous"):
        list(read_blocks(csv(tmp_path, "2026-10-25 02:30:00"), "Europe/Berlin"))


def test_bars(tmp_path):
    """The bars of a file are in ascending order, the last one of each time."""
    path = tmp_path / "bars.csv"
    hours = [MONDAY_MS + 3_600_000 * hour for hour in (2, 0, 1, 0)]
    path.write_text(HEADER + "".join(f"{t},1,9,0.5,{row + 1},7\n" for row, t in enumerate(hours)))
    bars = read_bars(path, Timeframe.parse("1h"), MONDAY_MS + 10**9)
    assert bars.time.tolist() == sorted(set(hours))
    assert bars.close.tolist() == [4, 3, 1]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "it has no rows"),
        (f"{MONDAY_MS},1,2,0.5,1,7\n{MONDAY_MS + 1},1,2,0.5,1,7\n", "row 2: .* timeframe in UTC"),
        ("2026-01-05T00:00:00Z,1,2,0.5,1,7\nnone,1,2,0.5,1,7\n", "row 2: the time is neither"),
        (f"{MONDAY_MS},1,2,0.5,3,7\n", "row 1: open or close is outside"),
    ],
)
def test_invalid_bars(tmp_path, lines, problem):
    """A file with an invalid bar is rejected with its row."""
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + lines)
    with pytest.raises(BarFileError, match=problem):
        read_bars(path, Timeframe.parse("1h"), MONDAY_MS + 10**9)
