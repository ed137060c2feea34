"""Holm's correction gives the values of R's p.adjust."""

import pytest

from serve_app.experiments.statistics.multiple_testing import holm


def test_holm():
    """Holm (1979) by hand: .01 * 3, .03 * 2, and no smaller than the last; as R's p.adjust."""
    adjusted = holm({"a": 0.03, "b": 0.01, "c": 0.04})
    assert adjusted == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
