"""The market data and its labels."""

import numpy as np
import pytest

from examples.eurusd.data import DataError, read_bars, write_csv
from examples.eurusd.sample import SAMPLE_FILE, render_sample
from features.bar_log.bar_files import read_blocks
from features.times import iso


def test_bars(bars):
    """The year has 6225 consistent bars."""
    assert len(bars) == 6225
    assert iso(bars.time[0]) == "2017-01-01T22:00:00Z"
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()


def test_sample_request(bars):
    """The sample request is the one that the code generates."""
    assert SAMPLE_FILE.read_text() == render_sample(bars)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no file at"),
        ("Time,Close\n01.01.2017 22:00:00.000,1.0\n", "expected the columns"),
        ("Time,Open,High,Low,Close,Volume\n01.01.2017 22:00:00.000,1,1,1,x,1\n", "'x'"),
        (
            "Time,Open,High,Low,Close,Volume\n"
            "01.01.2017 22:00:00.000,1,1,1,1,1\n01.01.2017 21:00:00.000,1,1,1,1,1\n",
            "not in chronological order",
        ),
    ],
)
def test_invalid_file(tmp_path, content, problem):
    """A file without bars is rejected with the reason."""
    path = tmp_path / "bars.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=problem):
        read_bars(path)


def test_csv(bars, tmp_path):
    """The bars are written in the form that an import reads."""
    path = tmp_path / "eurusd.csv"
    with path.open("w", newline="") as file:
        write_csv(bars, file)
    (block,) = read_blocks(path)
    assert block.bars.time.tolist() == bars.time.tolist()
    assert block.bars.values.tolist() == bars.values.tolist()
    assert not block.problems.any()
