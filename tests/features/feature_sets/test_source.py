"""The digest of a feature set's source."""

import importlib
import itertools
import sys

import pytest

from features.errors import UnreadableSourceError
from features.feature_sets import digest_source

numbers = itertools.count()
FILES = {
    "__init__.py": "",
    "hourly/__init__.py": "VERSION = 1",
    "hourly/sets.py": "from ..scales import scale\nfrom . import trends\nimport math\n",
    "hourly/trends.py": "def trend():\n    from {top}.late.averages import ema\n    return ema\n",
    "hourly/unused.py": "",
    "scales.py": "def scale(): ...",
    "late/__init__.py": "",
    "late/averages.py": "import {top}.hourly.trends\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the folder of an installed package."""
    top = f"acme_features_{next(numbers)}"
    for path, text in FILES.items():
        file = tmp_path / top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(top=top))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(f"{top}.hourly.sets")
    yield tmp_path / top
    for name in [name for name in sys.modules if name.partition(".")[0] == top]:
        del sys.modules[name]


def digest(package):
    return digest_source(f"{package.name}.hourly.sets")


def test_modules(package):
    """All imported modules of the package are covered, and none is imported for it."""
    covered = [name.removeprefix(f"{package.name}.") for name in digest(package).modules]
    assert covered == ["hourly", "hourly.sets", "hourly.trends", "late.averages", "scales"]
    assert f"{package.name}.late.averages" not in sys.modules


@pytest.mark.parametrize("path", ["hourly/sets.py", "late/averages.py", "scales.py"])
def test_change(package, path):
    """A change of a covered module, even of a comment, changes the digest."""
    before = digest(package)
    with (package / path).open("a") as file:
        file.write("# changed\n")
    assert digest(package).sha256 != before.sha256


@pytest.mark.parametrize("path", ["__init__.py", "hourly/unused.py", "late/__init__.py"])
def test_not_covered(package, path):
    """A module that no covered module imports does not change the digest."""
    before = digest(package)
    (package / path).write_text("X = 2\n")
    assert digest(package) == before


def test_line_ends(package):
    """A checkout with other line ends has the same digest."""
    before = digest(package)
    file = package / "hourly/sets.py"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert digest(package) == before


def test_moved_text(package):
    """Text that moves from one module to another changes the digest."""
    before = digest(package)
    (package / "scales.py").write_text("")
    (package / "late/averages.py").write_text(
        f"import {package.name}.hourly.trends\ndef scale(): ..."
    )
    assert digest(package).sha256 != before.sha256


def test_unreadable(package):
    """A module that is not installed, or that cannot be parsed, is an error."""
    with pytest.raises(UnreadableSourceError, match="no_such_package: it is not installed"):
        digest_source("no_such_package")
    (package / "scales.py").write_text("def\n")
    with pytest.raises(UnreadableSourceError, match=r"scales: .*invalid syntax"):
        digest(package)
