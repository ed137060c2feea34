"""The bars on which a command checks a feature set."""

import pytest

from features.bar_log import BarLog
from features.errors import BarFileError, NoBarsError
from serve_app.cli.bar_sources import BarSource
from testkit.feature_sets import HOURLY, ToyFeatureSet, change_and_volume, random_bars

TOY = ToyFeatureSet(function=change_and_volume)


def test_log(tmp_path):
    """The log's bars are those of the timeframe, the latest ones in ascending order."""
    bars = random_bars(50)
    with BarLog(tmp_path / "log") as log:
        log.append("EURUSD", HOURLY, bars, int(bars.time[-1]) + 10**9)
    read, source = BarSource(bar_log=tmp_path / "log").read(TOY, None)
    assert read.time.tolist() == bars.time.tolist()
    assert source == "EURUSD in the bar log"


def test_default(tmp_path):
    """By default the log is that of the server: in the registry's folder."""
    bars = random_bars(50)
    (tmp_path / "models").mkdir()
    with BarLog(tmp_path / "models/.bars") as log:
        log.append("EURUSD", HOURLY, bars, int(bars.time[-1]) + 10**9)
    read, _ = BarSource().read(TOY, tmp_path / "models")
    assert len(read) == 50


def test_no_log(tmp_path):
    """A folder without a log is an error with the remedy."""
    with pytest.raises(NoBarsError, match=r"1h .*: there is no bar log in .*log; pass a CSV"):
        BarSource(bar_log=tmp_path / "log").read(TOY, None)


def test_unreadable_file(tmp_path):
    """A file that cannot be read is an error, even if a log has bars."""
    with pytest.raises(BarFileError, match="No such file"):
        BarSource(bars=tmp_path / "absent.csv").read(TOY, None)
