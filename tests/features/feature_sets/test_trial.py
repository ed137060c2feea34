"""Feature sets that are loaded in a separate process."""

import itertools
import sys

import pytest

from features.errors import BrokenFeatureSetError, UnknownFeatureSetError
from features.feature_sets import ENTRY_POINT_GROUP
from features.feature_sets.trial import Declared, try_feature_set
from testkit.distributions import write_distribution
from testkit.feature_sets import write_feature_set

numbers = itertools.count()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on `sys.path`."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def declare(site, source):
    module = f"acme_trial_{next(numbers)}"
    write_distribution(site, "acme", module, source, group=ENTRY_POINT_GROUP, acme_toy="TOY")
    return module


def test_declared(site):
    """The process reports what the feature set declares, whatever it prints."""
    module = f"acme_trial_{next(numbers)}"
    write_feature_set(site, module)
    with (site / f"{module}.py").open("a") as file:
        file.write("print('loading', flush=True)\n")
    assert try_feature_set("acme_toy") == Declared("1", "1h", 3, ("change", "volume"))
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module named"),
        ("import os\nos._exit(3)", "its process ended with exit code 3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
        ("import sys\nsys.exit(0)", "its process ended with exit code 0"),
    ],
)
def test_broken(site, source, problem):
    """A feature set that cannot be loaded is an error, and harms no other process."""
    declare(site, source)
    with pytest.raises(BrokenFeatureSetError, match=problem) as caught:
        try_feature_set("acme_toy")
    assert "; repair or reinstall this distribution" in str(caught.value)


def test_endless(site):
    """A feature set that does not load in time is an error."""
    declare(site, "import time\ntime.sleep(100)")
    with pytest.raises(BrokenFeatureSetError, match=r"did not load within 1\.5 s"):
        try_feature_set("acme_toy", timeout_s=1.5)


def test_unknown(site):
    """The error of an unknown name is that of the catalogue."""
    with pytest.raises(UnknownFeatureSetError, match="unknown feature set 'acme_absent'"):
        try_feature_set("acme_absent")
