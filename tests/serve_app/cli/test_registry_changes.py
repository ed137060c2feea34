"""The commands that change a registry, with their exit codes."""

import json

import pytest

from registry.records import OUTPUTS
from tests.serve_app.cli.commands import printed


def test_register_fields(register, modelctl, tmp_path):
    """`register` records every option in the metadata and the history."""
    notes = tmp_path / "notes.txt"
    notes.write_text("notes")
    options = (
        *("--artifact", f"notes.txt={notes}"),
        *("--metric", "accuracy=0.5", "--metric", "loss=1e-3"),
        *("--param", "epochs=3", "--param", 'optimizer="adam"'),
        *("--dataset", "dead_band=0.001"),
        *("--tag", "new", "--tag", "fast"),
        *("--description", "first", "--framework", "sklearn"),
        *("--label-map", "0=SELL,1=HOLD,2=BUY"),
        *("--output", "confidence=confidence"),
        *("--by", "olga", "--reason", "trained"),
        "--json",
    )
    info = printed(register("1.0.0", *options))
    assert set(info["artifacts"]) == {"model.onnx", "notes.txt"}
    assert info["metrics"] == {"accuracy": 0.5, "loss": 0.001}
    assert info["training_params"] == {"epochs": 3, "optimizer": "adam"}
    assert info["dataset_info"] == {"dead_band": 0.001}
    assert (info["tags"], info["description"]) == (["new", "fast"], "first")
    assert (info["framework"], info["model_type"]) == ("sklearn", "Linear")
    assert info["label_map"] == {"0": "SELL", "1": "HOLD", "2": "BUY"}
    assert info["output_names"] == {meaning: meaning for meaning in OUTPUTS}
    assert info["input_shape"] == [3, 2]
    (entry,) = printed(modelctl("history", "m", "--json"))
    assert (entry["by"], entry["reason"]) == ("olga", "trained")


def test_register_again(register):
    """Registering identical content again succeeds; other content is rejected."""
    assert register().stdout == "m:1.0.0 is registered\n"
    assert "identical content: nothing to do" in register().stdout
    rejected = register(weight=2.0)
    assert rejected.exit_code == 1
    assert rejected.stdout == ""
    assert "already published and immutable" in rejected.stderr


def test_stages(register, modelctl):
    """Versions move between stages, and a rollback restores production."""
    for version, weight in (("1.0.0", 1.0), ("1.1.0", 2.0), ("1.2.0", 3.0)):
        register(version, weight=weight)
    assert modelctl("promote", "m", "1.0.0").stdout == "m:1.0.0 is in production\n"
    assert printed(modelctl("stage", "m", "1.1.0", "--json"))["stage"] == "Staging"
    assert printed(modelctl("promote", "m", "1.1.0", "--json"))["stage"] == "Production"
    assert modelctl("rollback", "m").stdout == "m:1.0.0 is in production again\n"
    staged = modelctl("stage", "m", "1.2.0", "--to", "staging", "--json")
    assert printed(staged)["stage"] == "Staging"
    unstaged = modelctl("stage", "m", "1.2.0", "--to", "None")
    assert unstaged.stdout == "m:1.2.0 is now in stage None\n"
    assert printed(modelctl("retire", "m", "1.2.0", "--json"))["stage"] == "Archived"
    stages = {info["version"]: info["stage"] for info in printed(modelctl("list", "m", "--json"))}
    assert stages == {"1.0.0": "Production", "1.1.0": "Archived", "1.2.0": "Archived"}


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("promote", "m", "9.9.9"), "has no version '9.9.9'"),
        (("promote", "n", "1.0.0"), "no model 'n' in the registry; registered models: m"),
        (("stage", "m", "one"), "invalid version 'one'"),
        (("rollback", "m"), "cannot roll back model 'm'"),
        (("retire", "m", "1.0.0"), "cannot retire version 1.0.0"),
        (("delete", "m", "1.0.0", "--yes"), "cannot delete version 1.0.0"),
        (("delete", "m", "9.9.9", "--yes"), "has no version '9.9.9'"),
        (("compare", "m", "1.0.0", "9.9.9"), "has no version '9.9.9'"),
        (("history", "../m"), "invalid model name '../m'"),
        (("verify", "n"), "no model 'n'"),
        (("repair", "n"), "no model 'n'"),
    ],
)
def test_registry_error(register, modelctl, command, problem):
    """An error of the registry is one line on stderr and exit code 1."""
    register()
    modelctl("promote", "m", "1.0.0")
    done = modelctl(*command, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_delete_confirmation(register, modelctl):
    """`delete` requires a confirmation; a refusal or no input changes nothing."""
    register()
    for typed in ("n\n", ""):
        done = modelctl("delete", "m", "1.0.0", typed=typed)
        assert done.exit_code == 1
        assert "Delete m:1.0.0 permanently?" in done.stderr
    assert len(printed(modelctl("list", "--json"))) == 1
    assert "m:1.0.0 is deleted" in modelctl("delete", "m", "1.0.0", typed="y\n").stdout
    assert printed(modelctl("list", "--json")) == []


def test_delete_in_script(register, modelctl):
    """`delete --json` requires --yes, since a script cannot confirm."""
    register()
    assert modelctl("delete", "m", "1.0.0", "--json").exit_code == 2
    done = printed(modelctl("delete", "m", "1.0.0", "--yes", "--json"))
    assert done == {"name": "m", "version": "1.0.0", "deleted": True}


def test_repair(register, modelctl, root):
    """`repair` removes a leftover file, and does nothing in a sound registry."""
    register()
    assert modelctl("repair").stdout == "nothing to repair\n"
    leftover = root / "m" / f".incoming-{'0' * 32}"
    leftover.mkdir()
    (finding,) = json.loads(modelctl("verify", "--json").stdout)
    assert printed(modelctl("repair", "--json")) == {"repaired": [finding], "left": []}
    assert not leftover.exists()
    assert printed(modelctl("verify", "--json")) == []


def test_manual_repair(register, modelctl, root):
    """A finding that `repair` cannot repair is shown with its remedy and ends with exit code 1."""
    register()
    (root / "m" / "v1.0.0" / "model.onnx").write_bytes(b"altered")
    for command in ("verify", "repair"):
        done = modelctl(command)
        assert done.exit_code == 1
        assert "m/v1.0.0/model.onnx" in done.stdout
        assert "restore the file from a backup" in done.stdout


def test_promotion_without_reference_outputs(register, modelctl):
    """A version without reference outputs is promoted with a warning, or rejected on request."""
    register("1.0.0")
    rejected = modelctl("promote", "m", "1.0.0", "--require-reference-outputs")
    assert rejected.exit_code == 1
    assert "m:1.0.0 has no reference outputs, which are mandatory" in rejected.stderr
    rejected = modelctl("stage", "m", "1.0.0", "--require-reference-outputs")
    assert rejected.exit_code == 1
    promoted = modelctl("promote", "m", "1.0.0")
    assert promoted.exit_code == 0
    assert promoted.stderr.count("warning: m:1.0.0 has no reference outputs") == 1
