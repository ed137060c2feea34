"""The commands that read a registry, with their exit codes."""

import json

import pytest

from tests.serve_app.cli.commands import cells, printed


@pytest.fixture
def filled(register, modelctl):
    """A registry with 1.0.0 in production and a newer 1.10.0."""
    for version, weight in (("1.0.0", 1.0), ("1.10.0", 2.0)):
        assert register(version, "--metric", "sharpe_ratio=2.5", weight=weight).exit_code == 0
    assert modelctl("promote", "m", "1.0.0").exit_code == 0


def test_list(filled, modelctl, root):
    """`list` shows every version, as a table and as JSON."""
    table = modelctl("list")
    assert table.exit_code == 0
    assert table.stdout.index("1.0.0") < table.stdout.index("1.10.0")
    assert "Production" in table.stdout
    assert "sharpe_ratio=2.5" in table.stdout
    listed = printed(modelctl("list", "--json"))
    assert [info["version"] for info in listed] == ["1.0.0", "1.10.0"]
    assert listed[0]["path"] == str(root / "m" / "v1.0.0")


def test_list_empty(modelctl):
    """An empty registry is not an error."""
    done = modelctl("list")
    assert done.exit_code == 0
    assert "no models in" in done.stdout
    assert printed(modelctl("list", "--json")) == []


@pytest.mark.parametrize(
    ("reference", "version"),
    [(["1.10.0"], "1.10.0"), (["production"], "1.0.0"), ([], "1.0.0")],
)
def test_show_reference(filled, modelctl, reference, version):
    """`show` accepts a version, a stage or neither."""
    assert printed(modelctl("show", "m", *reference, "--json"))["version"] == version


def test_show_table(filled, modelctl):
    """`show` prints the metadata as a table."""
    done = modelctl("show", "m")
    assert done.exit_code == 0
    assert "Linear" in done.stdout
    assert '"model.onnx"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("n",), "error: no model 'n' in the registry; registered models: m"),
        (("m", "9.9.9"), "error: model 'm' has no version '9.9.9'; its versions: 1.0.0, 1.10.0"),
        (("m", "staging"), "error: model 'm' has no"),
        (("m", "newest"), "error: invalid version 'newest'"),
    ],
)
def test_show_error(filled, modelctl, arguments, message):
    """An error of the registry is one line on stderr and exit code 1."""
    done = modelctl("show", *arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message)


def test_history(register, modelctl):
    """`history` shows when, what, by whom and why, without interpreting markup."""
    register()
    modelctl("promote", "m", "1.0.0", "--by", "olga", "--reason", "[bold] passed")
    table = modelctl("history", "m").stdout
    for text in ("registered", "promoted", "Production", "olga", "[bold] passed"):
        assert text in table


def test_compare(register, modelctl):
    """`compare` marks where the second version is better or worse."""
    register("1.0.0", "--metric", "accuracy=0.5", "--metric", "loss=0.25", "--metric", "seed=1")
    register("1.1.0", "--metric", "accuracy=0.75", "--metric", "loss=0.5", weight=2.0)
    rows = {row[0]: row[1:] for row in cells(modelctl("compare", "m", "1.0.0", "1.1.0"))}
    assert rows["accuracy"] == ["0.5", "0.75", "+0.25", "+50.0", "better"]
    assert rows["loss"] == ["0.25", "0.5", "+0.25", "+100.0", "worse"]
    assert rows["seed"] == ["1", "-", "-", "", ""]
    assert rows["size (MB)"][:2] == ["0.00", "0.00"]
    comparison = printed(modelctl("compare", "m", "1.0.0", "1.1.0", "--json"))
    assert comparison["metrics_comparison"]["loss"]["diff"] == 0.25


def test_verify(register, modelctl, root):
    """`verify` reports a leftover file, and a sound registry as such."""
    register()
    assert "nothing wrong in" in modelctl("verify").stdout
    (root / "m" / f".incoming-{'0' * 32}").mkdir()
    found = modelctl("verify", "--json")
    assert found.exit_code == 1
    (finding,) = json.loads(found.stdout)
    assert finding["repairable"]
