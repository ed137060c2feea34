"""`modelctl` as it changes a registry in a folder, with its exit codes."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from registry.records import OUTPUTS
from serve_app.cli import app, tables
from testkit.models import linear_onnx_file

WIDE = {"COLUMNS": "200", "MODELCTL_REGISTRY": None, "MODELCTL_SERVER": None}


@pytest.fixture
def modelctl(tmp_path):
    """Run a command on the registry in `models`."""

    def run(*arguments, answer=None):
        command = [str(each) for each in arguments]
        done = CliRunner().invoke(
            app, [*command, "--registry", str(tmp_path / "models")], env=WIDE, input=answer
        )
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


@pytest.fixture
def register(modelctl, tmp_path):
    def run(version="1.0.0", *options, weight=1.0):
        path = linear_onnx_file(tmp_path, weight)
        shape = ("--input-shape", "3,2")
        return modelctl("register", "m", version, path, "--type", "Linear", *shape, *options)

    return run


def asked(done):
    """Return the JSON a command printed, which succeeded."""
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_register_keeps_all_that_was_said(register, modelctl, tmp_path):
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
    info = asked(register("1.0.0", *options))
    assert set(info["artifacts"]) == {"model.onnx", "notes.txt"}
    assert info["metrics"] == {"accuracy": 0.5, "loss": 0.001}
    assert info["training_params"] == {"epochs": 3, "optimizer": "adam"}
    assert info["dataset_info"] == {"dead_band": 0.001}
    assert (info["tags"], info["description"]) == (["new", "fast"], "first")
    assert (info["framework"], info["model_type"]) == ("sklearn", "Linear")
    assert info["label_map"] == {"0": "SELL", "1": "HOLD", "2": "BUY"}
    assert info["output_names"] == {each: each for each in OUTPUTS}
    assert info["input_shape"] == [3, 2]
    (entry,) = asked(modelctl("history", "m", "--json"))
    assert (entry["by"], entry["reason"]) == ("olga", "trained")


def test_registering_the_same_again_says_so_and_other_content_is_refused(register):
    assert register().stdout == "m:1.0.0 is registered\n"
    assert "identical content: nothing to do" in register().stdout
    refused = register(weight=2.0)
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "already published and immutable" in refused.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--metric", "accuracy"), "--metric: expected NAME=NUMBER, received accuracy"),
        (("--metric", "a=high"), "--metric: expected NAME=NUMBER, received a=high"),
        (("--metric", "a=1", "--metric", "a=2"), "--metric: expected a once"),
        (("--param", "k=adam"), "received k=adam"),
        (("--artifact", "=x"), "--artifact: expected NAME=PATH"),
        (("--input-shape", "60x110"), "--input-shape: expected TIMESTEPS,FEATURES"),
        (("--label-map", "HOLD,BUY"), "--label-map: expected INDEX=DIRECTION"),
        (("--label-map", "a=HOLD"), "--label-map: expected INDEX=DIRECTION"),
    ],
)
def test_a_mistyped_option_is_exit_code_2_and_changes_nothing(register, tmp_path, options, problem):
    done = register("1.0.0", *options)
    assert done.exit_code == 2
    assert problem in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "models").exists()


def test_stages_move_and_roll_back(register, modelctl):
    for each, weight in (("1.0.0", 1.0), ("1.1.0", 2.0), ("1.2.0", 3.0)):
        register(each, weight=weight)
    assert modelctl("promote", "m", "1.0.0").stdout == "m:1.0.0 is in production\n"
    assert asked(modelctl("stage", "m", "1.1.0", "--json"))["stage"] == "Staging"
    assert asked(modelctl("promote", "m", "1.1.0", "--json"))["stage"] == "Production"
    assert modelctl("rollback", "m").stdout == "m:1.0.0 is in production again\n"
    assert asked(modelctl("stage", "m", "1.2.0", "--to", "staging", "--json"))["stage"] == "Staging"
    assert (
        modelctl("stage", "m", "1.2.0", "--to", "None").stdout == "m:1.2.0 is now in stage None\n"
    )
    assert asked(modelctl("retire", "m", "1.2.0", "--json"))["stage"] == "Archived"
    stages = {each["version"]: each["stage"] for each in asked(modelctl("list", "m", "--json"))}
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
def test_what_the_registry_refuses_is_one_line_and_exit_code_1(
    register, modelctl, command, problem
):
    register()
    modelctl("promote", "m", "1.0.0")
    done = modelctl(*command, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_delete_asks_first(register, modelctl):
    register()
    for answer in ("n\n", ""):
        done = modelctl("delete", "m", "1.0.0", answer=answer)
        assert done.exit_code == 1
        assert "Delete m:1.0.0 for good?" in done.stderr
    assert len(asked(modelctl("list", "--json"))) == 1
    assert "m:1.0.0 is deleted" in modelctl("delete", "m", "1.0.0", answer="y\n").stdout
    assert asked(modelctl("list", "--json")) == []


def test_delete_does_not_ask_a_script(register, modelctl):
    register()
    assert modelctl("delete", "m", "1.0.0", "--json").exit_code == 2
    done = asked(modelctl("delete", "m", "1.0.0", "--yes", "--json"))
    assert done == {"name": "m", "version": "1.0.0", "deleted": True}


def test_history_tells_when_what_who_and_why(register, modelctl):
    register()
    modelctl("promote", "m", "1.0.0", "--by", "olga", "--reason", "[bold] passed")
    table = modelctl("history", "m").stdout
    for text in ("registered", "promoted", "Production", "olga", "[bold] passed"):
        assert text in table


def test_compare_marks_what_is_better_and_worse(register, modelctl):
    register("1.0.0", "--metric", "accuracy=0.5", "--metric", "loss=0.25", "--metric", "seed=1")
    register("1.1.0", "--metric", "accuracy=0.75", "--metric", "loss=0.5", weight=2.0)
    rows = {
        cells[1]: cells[2:]
        for line in modelctl("compare", "m", "1.0.0", "1.1.0").stdout.splitlines()
        if len(cells := [each.strip() for each in line.replace("┃", "│").split("│")]) > 2
    }
    assert rows["accuracy"] == ["0.5", "0.75", "+0.25", "+50.0", "better", ""]
    assert rows["loss"] == ["0.25", "0.5", "+0.25", "+100.0", "worse", ""]
    assert rows["seed"] == ["1", "-", "-", "", "", ""]
    assert rows["size (MB)"][:2] == ["0.00", "0.00"]
    compared = asked(modelctl("compare", "m", "1.0.0", "1.1.0", "--json"))
    assert compared["metrics_comparison"]["loss"]["diff"] == 0.25


@pytest.mark.parametrize(
    ("metric", "diff", "meant"),
    [
        ("accuracy", 0.1, "better"),
        ("val_accuracy", -0.1, "worse"),
        ("sharpe_ratio", 0.0, "same"),
        ("error_rate", -0.1, "better"),
        ("max_drawdown", 0.1, "worse"),
        ("Brier_score", -0.1, "better"),
        ("p95_latency_ms", 1.0, "worse"),
        ("return_error", 1.0, "worse"),
        ("trades", 10.0, ""),
        ("accuracy", None, ""),
    ],
)
def test_better_is_lower_for_what_counts_losses_and_unknown_for_unknown_names(metric, diff, meant):
    assert tables.verdict(metric, diff) == meant


def test_verify_finds_and_repair_mends_what_is_safe(register, modelctl, tmp_path):
    register()
    assert "nothing wrong in" in modelctl("verify").stdout
    assert modelctl("repair").stdout == "nothing to mend\n"
    leftover = tmp_path / "models" / "m" / f".incoming-{'0' * 32}"
    leftover.mkdir()
    found = modelctl("verify", "--json")
    assert found.exit_code == 1
    (finding,) = json.loads(found.stdout)
    assert finding["repairable"]
    assert asked(modelctl("repair", "--json")) == {"mended": [finding], "left": []}
    assert not leftover.exists()
    assert asked(modelctl("verify", "--json")) == []


def test_what_repair_cannot_mend_is_shown_and_exit_code_1(register, modelctl, tmp_path):
    register()
    (tmp_path / "models" / "m" / "v1.0.0" / "model.onnx").write_bytes(b"altered")
    for command in ("verify", "repair"):
        done = modelctl(command)
        assert done.exit_code == 1
        assert "m/v1.0.0/model.onnx" in done.stdout
        assert "restore the file from a backup" in done.stdout


def test_the_registry_may_stand_in_the_environment_but_not_beside_a_server(tmp_path):
    def run(*arguments, **environment):
        return CliRunner().invoke(app, list(arguments), env={**WIDE, **environment})

    done = run("list", MODELCTL_REGISTRY=str(tmp_path / "elsewhere"))
    assert done.stdout.startswith(f"no models in {tmp_path / 'elsewhere'}")
    for refused in (
        run("list", "--registry", str(tmp_path), "--server", "auto"),
        run("promote", "m", "1.0.0", "--registry", str(tmp_path), MODELCTL_SERVER="auto"),
    ):
        assert refused.exit_code == 2
        assert "received both" in " ".join(refused.stderr.replace("│", " ").split())


def test_a_folder_needs_no_ray_and_no_torch(tmp_path):
    code = (
        "import sys; from typer.testing import CliRunner; from serve_app.cli import app\n"
        f"done = CliRunner().invoke(app, ['list', '--registry', {str(tmp_path)!r}])\n"
        "assert done.exit_code == 0, done.output\n"
        "print([each for each in ('ray', 'torch', 'onnxruntime') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell):
    done = CliRunner().invoke(
        app, [], env={"_MODELCTL_COMPLETE": f"source_{shell}"}, prog_name="modelctl"
    )
    assert done.exit_code == 0
    assert f"_MODELCTL_COMPLETE=complete_{shell}" in done.stdout


def test_completion_knows_the_commands():
    environment = {
        "_MODELCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "modelctl ro",
        "COMP_CWORD": "1",
    }
    done = CliRunner().invoke(app, [], env=environment, prog_name="modelctl")
    assert done.stdout.split() == ["rollback"]
