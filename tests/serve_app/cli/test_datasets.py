"""`modelctl dataset`, and the registration of a version that was trained on one."""

import itertools
import json
import sys

import pytest

from features.bar_log import BarLog
from features.datasets import Dataset
from testkit.feature_sets import HOURLY, random_bars, write_feature_set
from tests.serve_app.cli.commands import cells, printed

numbers = itertools.count()
AS_OF = "1971-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def change_feature_set(tmp_path, monkeypatch):
    """Install the feature set `acme_toy`; return a function that changes its source."""
    module = f"acme_dataset_toy_{next(numbers)}"
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)

    def run(comment=""):
        sys.modules.pop(module, None)
        write_feature_set(site, module, comment=comment)

    run()
    yield run
    sys.modules.pop(module, None)


@pytest.fixture
def build(modelctl, tmp_path):
    """Return a function that builds a dataset from a log of two symbols."""
    (tmp_path / "models").mkdir()
    with BarLog(tmp_path / "models/.bars") as log:
        for seed, symbol in enumerate(("EURUSD", "GBPUSD")):
            bars = random_bars(120, seed)
            log.append(symbol, HOURLY, bars, int(bars.time[-1]) + HOURLY.length_ms)

    def run(*options, symbols="EURUSD,GBPUSD", as_of=AS_OF):
        fixed = ("--feature-set", "acme_toy", "--symbols", symbols, "--as-of", as_of)
        labels = ("--horizon-bars", "4", "--dead-band", "0.001", "--timesteps", "3")
        return modelctl("dataset", "build", "-o", "a.parquet", *fixed, *labels, *options)

    return run


def test_build(build, tmp_path):
    """`build` writes the dataset and reports what it contains."""
    done = build()
    assert done.exit_code == 0, done.stderr
    dataset = Dataset.read(tmp_path / "a.parquet")
    assert len(dataset) == 2 * (120 - 4 - 4)
    assert dataset.windows.shape[1:] == (3, 2)
    assert f"manifest sha256 {dataset.manifest.sha256}" in done.stdout
    assert "a.parquet: 224 samples of acme_toy 1, 3 timesteps, 4 bars ahead" in done.stdout
    assert [row[:3] for row in cells(done)[1:]] == [
        ["EURUSD", "120", "112"],
        ["GBPUSD", "120", "112"],
    ]


def test_range(build):
    """`--from` and `--to` select the bars of the samples; symbols may be repeated options."""
    bounds = ("--from", "1970-01-05T00:00:00Z", "--to", "1970-01-20T00:00:00Z")
    manifest = printed(build(*bounds, "--symbols", "GBPUSD", "--json", symbols="EURUSD"))
    assert [series["symbol"] for series in manifest["series"]] == ["EURUSD", "GBPUSD"]
    assert 0 < manifest["samples"] < 224
    for series in manifest["series"]:
        assert "1970-01-05T00:00:00Z" <= series["first"] <= series["last"] <= "1970-01-20"


def test_show(build, modelctl, tmp_path):
    """`show` verifies a dataset and prints its manifest."""
    built = printed(build("--json"))
    assert printed(modelctl("dataset", "show", "a.parquet", "--json")) == built
    (tmp_path / "a.parquet").write_bytes(b"altered")
    done = modelctl("dataset", "show", "a.parquet")
    assert done.exit_code == 1
    assert "error: cannot read the dataset a.parquet: expected sha256" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"as_of": "1971-01-01"}, "without a time zone"),
        ({"as_of": "1970-01-01T00:00:00Z"}, "the log learned the first bar of EURUSD at 1970-01-"),
        ({"symbols": "EURUSD,EURUSD"}, "at least one symbol, each once"),
        ({"symbols": "USDJPY"}, "no bars of 'USDJPY' with the timeframe 1h"),
        ({"symbols": "a b"}, "expected a symbol"),
    ],
)
def test_invalid(build, tmp_path, options, problem):
    """A dataset that cannot be built is one line on stderr and exit code 1."""
    done = build(**options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert problem in done.stderr
    assert not (tmp_path / "a.parquet").exists()


def test_no_log(modelctl):
    """Without a bar log the error names the folder."""
    labels = ("--horizon-bars", "4", "--dead-band", "0", "--as-of", AS_OF, "-o", "a.parquet")
    feature_set = ("--feature-set", "acme_toy", "--symbols", "EURUSD", "--bar-log", "absent")
    done = modelctl("dataset", "build", *feature_set, *labels)
    assert done.exit_code == 1
    assert "cannot use absent: there is no bar log; import bars with modelctl" in done.stderr


def test_register(build, register, change_feature_set):
    """A version records the digest of the manifest of the dataset that trained it."""
    digest = printed(build("--json"))["manifest_sha256"]
    trained = ("--trained-on", "a.parquet", "--feature-set", "acme_toy")
    info = printed(register("1.0.0", *trained, "--dataset", 'source="acme"', "--json"))
    recorded = info["dataset_info"]
    assert (recorded["manifest_sha256"], recorded["source"]) == (digest, "acme")
    assert (recorded["horizon_bars"], recorded["dead_band"]) == (4, 0.001)
    without = register("1.1.0", "--trained-on", "a.parquet")
    assert without.exit_code == 1
    assert "has the feature set acme_toy 1, sha256" in without.stderr
    change_feature_set("changed")
    changed = register("1.1.0", *trained)
    assert changed.exit_code == 1
    assert "install the distribution with which the dataset was built" in changed.stderr


def test_manifest_file(build, tmp_path):
    """The digest that is reported is that of the manifest's file."""
    manifest = printed(build("--json"))
    stored = json.loads((tmp_path / "a.parquet.manifest.json").read_text())
    assert {**stored, "manifest_sha256": manifest["manifest_sha256"]} == manifest
