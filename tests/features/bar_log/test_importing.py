import numpy as np
import pyarrow as pa
import pytest

from features import Rejection, Symbol
from features.bar_log import bar_files
from features.bar_log.exporting import export_file
from features.bar_log.importing import import_file
from features.bars import LATEST_MS
from features.errors import BarFileError
from tests.features.bar_log.bars import MINUTELY, NOW_MS, walk

X = Symbol("X")


def csv(path, bars):
    """Write bars with all digits of their numbers."""
    lines = [
        ",".join([str(time), *map(repr, values)])
        for time, values in zip(bars.time.tolist(), bars.values.T.tolist(), strict=True)
    ]
    path.write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n")


def test_import(log, tmp_path):
    """The bars of a file are in the log; a second import finds duplicates only."""
    bars = walk(500)
    csv(tmp_path / "bars.csv", bars)
    first, second = (import_file(log, tmp_path / "bars.csv", X, MINUTELY, NOW_MS) for _ in range(2))
    assert (first.rows, first.accepted, second.duplicates) == (500, 500, 500)
    assert np.array_equal(log.reader.window("X", MINUTELY, 999).values, bars.values)


def test_rejections(log, tmp_path):
    """Invalid rows are counted, and the first reasons are kept with positions in the file."""
    bars = walk(60)
    bars.values[4, [7, 50]] = -1.0
    csv(tmp_path / "bars.csv", bars)
    done = import_file(log, tmp_path / "bars.csv", X, MINUTELY, NOW_MS)
    assert (done.accepted, done.rejected) == (58, 2)
    reason = Rejection.NEGATIVE_VOLUME
    assert list(done.rejections) == [(7, reason), (50, reason)]


def test_blocks(log, tmp_path, monkeypatch):
    """A file of several blocks is committed block by block, and positions count from its start."""
    monkeypatch.setattr(bar_files, "BLOCK_ROWS", 100)
    bars = walk(250)
    bars.values[4, 210] = -1.0
    path = tmp_path / "bars.parquet"
    names = ["time", "open", "high", "low", "close", "volume"]
    pa.parquet.write_table(
        pa.Table.from_arrays([pa.array(bars.time), *map(pa.array, bars.values)], names), path
    )
    seen = []
    done = import_file(
        log, path, X, MINUTELY, NOW_MS, progress=lambda d: seen.append((d.rows, d.share))
    )
    assert seen == [(100, 0.4), (200, 0.8), (250, 1.0)]
    assert list(done.rejections) == [(210, Rejection.NEGATIVE_VOLUME)]
    assert log.reader.series()[0].gaps == 1


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_export(log, tmp_path, suffix):
    """An export of all revisions restores the log, known_at included."""
    log.append("X", MINUTELY, walk(40), NOW_MS)
    log.append("X", MINUTELY, walk(20, seed=1), NOW_MS + 5)
    path = tmp_path / f"bars{suffix}"
    assert export_file(log.reader, path, "X", MINUTELY) == 60
    before = log.reader.rows("X", MINUTELY, 0, LATEST_MS)
    log.drop_before(LATEST_MS)
    import_file(log, path, Symbol("Y"), MINUTELY, NOW_MS + 9)
    after = log.reader.rows("Y", MINUTELY, 0, LATEST_MS)
    assert np.array_equal(before.known_at, after.known_at)
    assert np.array_equal(before.values, after.values)


def test_known_in_future(log, tmp_path):
    """A row that claims to be known later than now is rejected."""
    bars = walk(2)
    csv(tmp_path / "bars.csv", bars)
    text = (tmp_path / "bars.csv").read_text().splitlines()
    known = ["known_at", str(NOW_MS), str(NOW_MS + 1)]
    (tmp_path / "bars.csv").write_text(
        "\n".join(f"{line},{value}" for line, value in zip(text, known, strict=True))
    )
    done = import_file(log, tmp_path / "bars.csv", X, MINUTELY, NOW_MS)
    assert done.accepted == 1
    assert list(done.rejections) == [(1, Rejection.KNOWN_IN_FUTURE)]


def test_unreadable(log, tmp_path):
    """A file that cannot be read is an error, and the log is unchanged."""
    (tmp_path / "bars.csv").write_text("a,b\n")
    with pytest.raises(BarFileError):
        import_file(log, tmp_path / "bars.csv", X, MINUTELY, NOW_MS)
    assert log.reader.series() == []
