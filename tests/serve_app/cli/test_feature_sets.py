"""`modelctl features`, and the registration of a version with a feature set."""

import itertools
import sys

import pytest

from features.bar_log import BarLog, BarReader
from features.bar_log.exporting import export_file
from registry.folder.trusted_keys import write_trusted_keys
from registry.layout import Layout
from testkit.feature_sets import HOURLY, random_bars, write_feature_set
from tests.serve_app.cli.commands import cells, printed

numbers = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install the feature set `acme_toy`; return a function that installs a changed one."""
    module = f"acme_cli_toy_{next(numbers)}"
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)

    def run(**changes):
        sys.modules.pop(module, None)
        write_feature_set(site, module, **changes)

    run()
    yield run
    sys.modules.pop(module, None)


@pytest.fixture
def bar_log(tmp_path):
    """The folder of a log with two symbols."""
    folder = tmp_path / "log"
    with BarLog(folder) as log:
        for symbol, count in (("EURUSD", 80), ("GBPUSD", 40)):
            bars = random_bars(count)
            log.append(symbol, HOURLY, bars, int(bars.time[-1]) + 10**9)
    return folder


@pytest.fixture
def file(tmp_path, bar_log):
    """A file of 80 bars."""
    path = tmp_path / "eurusd.csv"
    reader = BarReader.open(bar_log)
    export_file(reader, path, "EURUSD", HOURLY)
    reader.close()
    return path


@pytest.mark.usefixtures("install")
def test_list(modelctl):
    """`list` shows the installed feature sets."""
    rows = {row[0]: row[1:] for row in cells(modelctl("features", "list"))}
    assert rows["acme_toy"][:4] == ["1", "1h", "3", "2"]


def test_broken(install, modelctl, tmp_path):
    """A feature set that cannot be used is listed with its problem."""
    install()
    module = next((tmp_path / "site").glob("acme_cli_toy_*.py"))
    module.write_text("import no_such_module_here")
    listed = printed(modelctl("features", "list", "--json"))
    (broken,) = [found for found in listed if found["name"] == "acme_toy"]
    assert "No module named 'no_such_module_here'" in broken["problem"]


@pytest.mark.usefixtures("install")
def test_show(modelctl):
    """`show` prints the names, the origin and the digest; an unknown name is an error."""
    shown = printed(modelctl("features", "show", "acme_toy", "--json"))
    assert shown["feature_names"] == ["change", "volume"]
    assert len(shown["sha256"]) == 64
    assert shown["origin"].endswith(":TOY of the distribution acme 2.1")
    assert "acme_toy" in modelctl("features", "show", "acme_toy").stdout
    unknown = modelctl("features", "show", "acme_none")
    assert unknown.exit_code == 1
    assert "known: acme_toy" in unknown.stderr


@pytest.mark.usefixtures("install")
def test_check_log(modelctl, bar_log):
    """`check` uses the symbol of the log with the most bars, or the named one."""
    done = modelctl("features", "check", "acme_toy", "--bar-log", bar_log)
    assert done.stdout.startswith("acme_toy 1 keeps all rules on 80 bars of EURUSD in the bar log")
    named = ("--bar-log", bar_log, "--symbol", "GBPUSD", "--cut-points", "5", "--json")
    assert printed(modelctl("features", "check", "acme_toy", *named))["bars"] == 40


@pytest.mark.usefixtures("install")
def test_check_file(modelctl, file):
    """`check` uses the bars of a file, if one is given."""
    checked = printed(modelctl("features", "check", "acme_toy", "--bars", file, "--json"))
    assert (checked["bars"], checked["source"]) == (80, "the file eurusd.csv")
    assert checked["violation"] is None


def test_failed_check(install, modelctl, file):
    """A feature set that breaks a rule is reported with exit code 1."""
    install(lookback=2)
    done = modelctl("features", "check", "acme_toy", "--bars", file)
    assert done.exit_code == 1
    assert "acme_toy 1 breaks a rule: expected that compute returns finite float32" in done.stderr


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize(
    "options", [(), ("--bar-log", "absent"), ("--bar-log", "log", "--symbol", "USDJPY")]
)
def test_no_bars(modelctl, register, bar_log, options):
    """Without bars nothing is checked or registered, and the error has the remedy."""
    for done in (
        modelctl("features", "check", "acme_toy", *options),
        register("1.0.0", "--feature-set", "acme_toy", *options),
    ):
        assert done.exit_code == 1
        assert "expected real bars of the timeframe 1h to check the feature set" in done.stderr
        assert "pass a CSV or Parquet file with --bars" in done.stderr
    assert printed(modelctl("list", "--json")) == []


def test_register(install, modelctl, register, bar_log):
    """A registration records the checked feature set; a changed source needs an acceptance."""
    options = ("--feature-set", "acme_toy", "--bar-log", bar_log)
    recorded = printed(register("1.0.0", *options, "--json"))["feature_set"]
    assert (recorded["name"], recorded["version"]) == ("acme_toy", "1")
    assert "80 bars from 1970-01-01" in recorded["checked_on"]
    assert modelctl("promote", "m", "1.0.0").exit_code == 0
    install(comment="changed")
    rejected = modelctl("stage", "m", "1.0.0")
    assert rejected.exit_code == 1
    assert "accept the installed one with modelctl features accept m 1.0.0" in rejected.stderr
    accept = ("features", "accept", "m", "1.0.0", "--bar-log", bar_log)
    accepted = printed(modelctl(*accept, "--reason", "a comment", "--json"))["feature_set"]
    assert accepted["sha256"] != recorded["sha256"]
    assert "m:1.0.0 serves with acme_toy 1, sha256" in modelctl(*accept).stdout
    assert modelctl("promote", "m", "1.0.0").exit_code == 0


def test_register_failed_check(install, modelctl, register, bar_log):
    """A feature set that breaks a rule is not registered."""
    install(lookback=2)
    done = register("1.0.0", "--feature-set", "acme_toy", "--bar-log", bar_log)
    assert done.exit_code == 1
    assert "the feature set 'acme_toy' failed its check" in done.stderr
    assert printed(modelctl("list", "--json")) == []


def test_accept_signed(install, modelctl, register, bar_log, root, tmp_path):
    """An acceptance signs the version again."""
    key = tmp_path / "key.pem"
    key_id = modelctl("key", "create", key).stdout.strip()
    signed = ("--feature-set", "acme_toy", "--bar-log", bar_log, "--sign-with", key)
    assert register("1.0.0", *signed).exit_code == 0
    write_trusted_keys(Layout(root), [key_id])
    assert modelctl("promote", "m", "1.0.0").exit_code == 0
    install(comment="changed")
    accept = ("features", "accept", "m", "1.0.0", "--bar-log", bar_log)
    unsigned = modelctl(*accept)
    assert unsigned.exit_code == 1
    assert f"expected a signature by {key_id}" in unsigned.stderr
    assert modelctl(*accept, "--sign-with", key).exit_code == 0
    assert modelctl("stage", "m", "1.0.0", "--to", "archived").exit_code == 1
    assert modelctl("promote", "m", "1.0.0").exit_code == 0


def test_accept_nothing(modelctl, register):
    """A version without a feature set has nothing to accept."""
    register()
    done = modelctl("features", "accept", "m", "1.0.0")
    assert done.exit_code == 1
    assert "m:1.0.0 names no feature set; register a new version" in done.stderr


def test_accept_other_width(install, modelctl, register, bar_log, tmp_path):
    """A feature set of another number of features is not accepted."""
    assert register("1.0.0", "--feature-set", "acme_toy", "--bar-log", bar_log).exit_code == 0
    install()
    module = next((tmp_path / "site").glob("acme_cli_toy_*.py"))
    module.write_text(
        module.read_text()
        .replace('("change", "volume")', '("change",)')
        .replace("- 3:]", "- 3:, :1]")
    )
    done = modelctl("features", "accept", "m", "1.0.0", "--bar-log", bar_log)
    assert done.exit_code == 1
    assert "expected a feature set of 2 features, as many as the model takes" in done.stderr
