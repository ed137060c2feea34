"""The feature sets of versions, compared with the installed ones."""

import itertools
import sys

import pytest

from features.errors import FailedCheckError, UnusableBarsError
from features.feature_sets import find_feature_set
from registry.errors import ChangedFeatureSetError, MissingFeatureSetError, UnusableModelError
from serve_app.feature_sets import checked_record, require_installed, try_feature_set, try_out
from testkit.feature_sets import random_bars, record, write_feature_set
from testkit.models import linear_onnx, metadata

numbers = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a feature set, and again with changes."""
    module = f"acme_toy_{next(numbers)}"
    monkeypatch.syspath_prepend(tmp_path)

    def run(**changes):
        write_feature_set(tmp_path, module, **changes)

    yield run
    for name in (module, "acme_library"):
        sys.modules.pop(name, None)


def registered():
    """Return metadata of a version with the installed feature set."""
    feature_set = checked_record(find_feature_set("acme_toy"), random_bars(60), "random bars")
    return metadata(feature_set=feature_set)


def test_record(install):
    """The record of a checked feature set has its names, its digest and the bars of the check."""
    install()
    installed = find_feature_set("acme_toy")
    recorded = checked_record(installed, random_bars(60), "random bars", seed=3)
    assert (recorded.name, recorded.version) == ("acme_toy", "1")
    assert recorded.sha256 == installed.source.sha256
    assert recorded.feature_names == ("change", "volume")
    assert recorded.checked_on.startswith("60 bars from 1970-01-")
    assert recorded.checked_on.endswith(" of random bars, 38 cut points, seed 3")


def test_failed_check(install):
    """A feature set that breaks a rule has no record."""
    install(lookback=2)
    with pytest.raises(FailedCheckError, match=r"'acme_toy' failed its check: expected that"):
        checked_record(find_feature_set("acme_toy"), random_bars(60), "random bars")


def test_few_bars(install):
    """Without enough bars there is no record either."""
    install()
    with pytest.raises(UnusableBarsError, match="at least 6 bars, received 5"):
        checked_record(find_feature_set("acme_toy"), random_bars(5), "random bars")


def test_installed(install):
    """A version serves with the source of its registration, and nothing is imported for that."""
    install()
    version = registered()
    module = find_feature_set("acme_toy").source.modules[0]
    del sys.modules[module]
    require_installed(version)
    require_installed(metadata())
    assert module not in sys.modules


def test_missing():
    """The error of a missing feature set names the version and the remedy."""
    with pytest.raises(MissingFeatureSetError) as caught:
        require_installed(metadata(feature_set=record(name="acme_absent")))
    assert str(caught.value).startswith(
        "toy:1.0.0 does not serve without its feature set acme_absent 1: unknown feature set"
    )
    assert "install the distribution that declares it" in str(caught.value)


def test_changed(install):
    """The error of a changed source names both digests and the command that accepts the change."""
    install()
    version = registered()
    install(comment="changed")
    with pytest.raises(ChangedFeatureSetError) as caught:
        require_installed(version)
    installed = find_feature_set("acme_toy").source.sha256
    assert f"expected sha256 {version.feature_set.sha256[:12]}…" in str(caught.value)
    assert f"installed is {installed[:12]}…" in str(caught.value)
    assert "modelctl features accept toy 1.0.0" in str(caught.value)


def test_broken(install, tmp_path):
    """A feature set that no longer loads is rejected, although its source is unchanged."""
    (tmp_path / "acme_library.py").write_text("COLUMNS = ('change', 'volume')\n")
    install(imported="from acme_library import COLUMNS")
    version = registered()
    try_feature_set(version)
    (tmp_path / "acme_library.py").unlink()
    require_installed(version)
    with pytest.raises(MissingFeatureSetError, match="No module named 'acme_library'"):
        try_feature_set(version)


def test_other_declaration(install, tmp_path):
    """A feature set that declares something else is rejected, although its source is unchanged."""
    library = tmp_path / "acme_library.py"
    library.write_text("COLUMNS = ('change', 'volume')\n")
    install(imported="from acme_library import COLUMNS", feature_names="COLUMNS")
    version = registered()
    library.write_text("COLUMNS = ('volume', 'change')\n")
    require_installed(version)
    with pytest.raises(MissingFeatureSetError, match="the installed one is version 1 with 2"):
        try_feature_set(version)


def test_try_out(install):
    """A trial run covers the feature set and the artifacts."""
    install()
    version = registered()
    try_out(version, lambda artifact: linear_onnx())
    with pytest.raises(UnusableModelError):
        try_out(version, lambda artifact: linear_onnx(float("nan")))
    install(comment="changed")
    with pytest.raises(ChangedFeatureSetError):
        try_out(version, lambda artifact: linear_onnx())
