import numpy as np
import pyarrow.parquet as pq
import pytest

from features import KnownBars
from features.bar_log.parts import GROUP_ROWS, Part, PartReader, as_table, write_part
from features.bars import EARLIEST_MS, LATEST_MS
from features.errors import DamagedBarLogError
from tests.features.bar_log.bars import MINUTE_MS, NOW_MS, walk

ROWS = 2 * GROUP_ROWS + 10


def known(bars):
    return KnownBars(bars.time, bars.values, np.full(len(bars), NOW_MS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a part of three row groups."""
    folder = tmp_path_factory.mktemp("parts")
    write_part(folder / "a.parquet", known(walk(ROWS)))
    return folder


@pytest.fixture
def reader(folder):
    return PartReader(folder)


def test_round_trip(folder):
    """A part returns the rows that were written, bit for bit; the checksums are right."""
    rows, bars = Part(folder / "a.parquet").verify(), walk(ROWS)
    assert np.array_equal(rows.values.view(np.int64), bars.values.view(np.int64))
    assert rows.time.tolist() == bars.time.tolist()
    assert set(rows.known_at.tolist()) == {NOW_MS}


def test_readable_elsewhere(folder):
    """Times are timestamps in UTC for other software."""
    table = pq.read_table(folder / "a.parquet")
    assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"


@pytest.mark.parametrize("newest", [True, False])
def test_visible(reader, newest):
    """More bars than wanted are returned, but not whole row groups, from the wanted side."""
    found = reader.visible("a.parquet", EARLIEST_MS, LATEST_MS, NOW_MS, 100, newest)
    assert 101 <= len(found) <= 202
    minutes = found.time // MINUTE_MS
    assert (minutes[-1] == ROWS - 1) if newest else (minutes[0] == 0)


def test_visible_across_groups(reader):
    """A range across row groups is complete."""
    first, last = (GROUP_ROWS - 5) * MINUTE_MS, (2 * GROUP_ROWS + 4) * MINUTE_MS
    found = reader.visible("a.parquet", first, last, NOW_MS, ROWS, newest=True)
    assert (found.time // MINUTE_MS).tolist() == list(range(GROUP_ROWS - 5, 2 * GROUP_ROWS + 5))
    assert len(reader.visible("a.parquet", first, last, NOW_MS - 1, ROWS, newest=True)) == 0


def test_revised_across_groups(tmp_path):
    """A bar whose rows lie in two row groups is found with its latest visible row."""
    count = GROUP_ROWS + 5
    time = np.array([0] + [MINUTE_MS] * count + [2 * MINUTE_MS])
    values = np.tile(np.arange(len(time), dtype=float), (5, 1))
    write_part(tmp_path / "b.parquet", KnownBars(time, values, NOW_MS + np.arange(len(time))))
    reader = PartReader(tmp_path)
    for newest in (True, False):
        view = NOW_MS + count - 1, 2, newest
        found = reader.visible("b.parquet", EARLIEST_MS, LATEST_MS, *view)
        assert found.close.tolist() == [0.0, count - 1]


def test_rows_near(reader):
    """The rows of bars and of their neighbours are found in whichever row groups they are."""
    times = np.array([0, GROUP_ROWS, ROWS + 1]) * MINUTE_MS
    minutes = (reader.rows_near("a.parquet", times, MINUTE_MS).time // MINUTE_MS).tolist()
    assert minutes == [0, 1, GROUP_ROWS - 1, GROUP_ROWS, GROUP_ROWS + 1]


def test_read_only(reader):
    """Rows that several callers share cannot be changed."""
    found = reader.visible("a.parquet", EARLIEST_MS, LATEST_MS, NOW_MS, 10, newest=False)
    with pytest.raises(ValueError, match="read-only"):
        found.values[0, 0] = 1.0


def test_damaged(folder, tmp_path):
    """A missing file, a truncated one and a changed byte are errors that name the file."""
    content = bytearray((folder / "a.parquet").read_bytes())
    with pytest.raises(DamagedBarLogError, match="does not exist"):
        Part(tmp_path / "missing.parquet")
    (tmp_path / "short.parquet").write_bytes(content[:-100])
    with pytest.raises(DamagedBarLogError, match=r"short\.parquet"):
        Part(tmp_path / "short.parquet")
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.parquet").write_bytes(content)
    with pytest.raises(DamagedBarLogError, match=r"changed\.parquet"):
        Part(tmp_path / "changed.parquet").verify()


def test_failed_write(tmp_path):
    """A write that fails leaves no file behind."""
    with pytest.raises(OSError, match="missing"):
        write_part(tmp_path / "missing" / "a.parquet", known(walk(3)))
    assert list(tmp_path.iterdir()) == []
    assert as_table(known(walk(3))).num_rows == 3
