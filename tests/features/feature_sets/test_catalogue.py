"""Feature sets that installed distributions provide by entry point."""

import itertools
import sys

import pytest

from features.errors import (
    AmbiguousFeatureSetError,
    BrokenFeatureSetError,
    UnknownFeatureSetError,
)
from features.feature_sets import (
    ENTRY_POINT_GROUP,
    FeatureSet,
    digest_source,
    feature_set_names,
    find_feature_set,
    find_source,
)
from testkit.distributions import write_distribution

SOURCE = """
from features import Timeframe

class Closes:
    version = "1.2"
    timeframe = Timeframe.parse("1h")
    lookback = 1
    feature_names = ("close",)

    def __init__(self, name):
        self.name = name

    def compute(self, bars):
        return bars.close.astype("float32")[:, None]

CLOSES = Closes("acme_closes")
UNNAMED = Closes("")

class Costly(Closes):
    @property
    def lookback(self):
        raise LookupError("no licence")

COSTLY = Costly("acme_closes")
"""
numbers = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution with entry points and returns its module."""

    def run(distribution, source, **entries):
        module = f"acme_sets_{next(numbers)}"
        site = tmp_path / distribution
        write_distribution(site, distribution, module, source, group=ENTRY_POINT_GROUP, **entries)
        monkeypatch.syspath_prepend(site)
        installed.append(module)
        return module

    installed = []
    yield run
    for module in installed:
        sys.modules.pop(module, None)


def test_found(install):
    """A declared feature set is found by its name, with its origin and its digest."""
    module = install("acme", SOURCE, acme_closes="CLOSES")
    assert "acme_closes" in feature_set_names()
    assert module not in sys.modules
    found = find_feature_set("acme_closes")
    assert isinstance(found.feature_set, FeatureSet)
    assert (found.feature_set.name, found.feature_set.version) == ("acme_closes", "1.2")
    assert found.origin == f"{module}:CLOSES of the distribution acme 2.1"
    assert found.source == digest_source(module)
    assert found.source.modules == (module,)


def test_source(install):
    """The digest of a declared feature set is found without importing it."""
    module = install("acme", SOURCE, acme_closes="CLOSES")
    source = find_source("acme_closes")
    assert module not in sys.modules
    assert source == find_feature_set("acme_closes").source


def test_unknown(install):
    """The error of an unknown name lists the known ones and how to add another."""
    install("acme", SOURCE, acme_closes="CLOSES")
    with pytest.raises(
        UnknownFeatureSetError,
        match=r"'nothing', known: .*acme_closes.*; install .* group tradeserve\.feature_sets",
    ):
        find_feature_set("nothing")


def test_ambiguous(install):
    """The error names both distributions that declare one name."""
    first = install("acme", SOURCE, acme_closes="CLOSES")
    second = install("umbrella", SOURCE, acme_closes="CLOSES")
    with pytest.raises(AmbiguousFeatureSetError, match="uninstall all") as caught:
        find_feature_set("acme_closes")
    assert set(caught.value.origins) == {
        f"{first}:CLOSES of the distribution acme 2.1",
        f"{second}:CLOSES of the distribution umbrella 2.1",
    }


@pytest.mark.parametrize(
    ("source", "value", "problem"),
    [
        ("import no_such_module_here", "X", "ModuleNotFoundError: No module named"),
        ("raise LookupError('no licence')", "X", "LookupError: no licence"),
        (SOURCE, "OPENS", "AttributeError: .*OPENS"),
        (SOURCE, "Closes", "expected an instance"),
        (SOURCE, "UNNAMED", "expected a name of 1 to 64"),
        (SOURCE, "COSTLY", "LookupError: no licence"),
    ],
)
def test_broken(install, source, value, problem):
    """The error of an unusable feature set names its distribution."""
    install("acme", source, acme_closes=value)
    with pytest.raises(BrokenFeatureSetError, match=problem) as caught:
        find_feature_set("acme_closes")
    assert f":{value} of the distribution acme 2.1" in str(caught.value)


def test_other_name(install):
    """A feature set has the name of its entry point."""
    install("acme", SOURCE, acme_opens="CLOSES")
    with pytest.raises(BrokenFeatureSetError, match=r"name of the entry point.* 'acme_closes'"):
        find_feature_set("acme_opens")


def test_unused_broken(install):
    """A broken feature set that is not used does not affect the others."""
    install("acme", "import no_such_module_here", broken="X")
    install("umbrella", SOURCE, acme_closes="CLOSES")
    assert find_feature_set("acme_closes").feature_set.lookback == 1
