"""The free space of a folder's disk."""

import re

from storage import disk_space
from storage.disk_space import shortage_of


def test_shortage(tmp_path, monkeypatch):
    """A disk with less than the reserve is reported with its space, its folder and the remedy."""
    assert shortage_of(tmp_path) is None
    monkeypatch.setattr(disk_space, "RESERVE_BYTES", 1 << 60)
    assert shortage_of(tmp_path / "missing") is None
    problem = shortage_of(tmp_path)
    expected = (
        r"expected \d+ MB of free disk space, but [\d.]+ MB of \d+ MB are free in (.*); "
        r"free disk space"
    )
    assert re.fullmatch(expected, problem)[1] == str(tmp_path)
