import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features.bar_log.exporting import export_file
from features.errors import BarFileError, UnknownSeriesError
from tests.features.bar_log.bars import MINUTE_MS, MINUTELY, NOW_MS, walk


def test_view(log, tmp_path):
    """An export can be limited to a range, and to what was known at a time."""
    log.append("X", MINUTELY, walk(40), NOW_MS)
    log.append("X", MINUTELY, walk(20, seed=1), NOW_MS + 5)
    path = tmp_path / "bars.parquet"
    bounds = 10 * MINUTE_MS, 14 * MINUTE_MS
    assert export_file(log.reader, path, "X", MINUTELY, *bounds, known_at_ms=NOW_MS) == 5
    assert pq.read_table(path).column("close").to_pylist() == walk(40).close[10:15].tolist()


def test_csv(log, tmp_path):
    """A CSV file has a header, and times in UTC."""
    log.append("X", MINUTELY, walk(2), NOW_MS)
    path = tmp_path / "bars.csv"
    seen = []
    export_file(log.reader, path, "X", MINUTELY, progress=seen.append)
    assert seen == [2]
    assert path.read_text().splitlines()[1].startswith("1970-01-01 00:00:00.000Z,")
    names = pyarrow.csv.read_csv(path).column_names
    assert names == ["time", "known_at", "open", "high", "low", "close", "volume"]


@pytest.mark.parametrize("name", ["bars.txt", "missing/bars.csv"])
def test_unwritable(log, tmp_path, name):
    """Another format and a missing folder are errors with a remedy; no file is left."""
    log.append("X", MINUTELY, walk(2), NOW_MS)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BarFileError, match="choose a"):
        export_file(log.reader, tmp_path / name, "X", MINUTELY)
    assert sorted(tmp_path.iterdir()) == before


def test_unknown(log, tmp_path):
    """An export of an unknown series replaces no file."""
    path = tmp_path / "bars.csv"
    path.write_text("kept")
    with pytest.raises(UnknownSeriesError):
        export_file(log.reader, path, "X", MINUTELY)
    assert path.read_text() == "kept"
