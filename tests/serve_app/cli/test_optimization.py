"""The commands that select the artifact from which a version is served."""

import json

import numpy as np
import pytest
import torch

from registry.architectures import HybridCNNLSTM, save_checkpoint

pytestmark = pytest.mark.slow

QUICK = ("--budget", "60", "--batches", "1", "--threads", "1", "--runs", "10")


@pytest.fixture
def windows(tmp_path):
    path = tmp_path / "windows.npy"
    np.save(path, np.random.default_rng(1).standard_normal((320, 12, 6), dtype=np.float32))
    return path


@pytest.fixture
def registered(modelctl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    save_checkpoint(HybridCNNLSTM(input_size=6, lstm_hidden_size=48), tmp_path / "model.pt")
    done = modelctl(
        *("register", "m", "1.0.0", tmp_path / "model.pt", "--type", "HybridCNNLSTM"),
        *("--input-shape", "12,6"),
    )
    assert done.exit_code == 0, done.output


def metadata(modelctl):
    return json.loads(modelctl("show", "m", "1.0.0", "--json").stdout)


def test_optimize(modelctl, registered, windows, tmp_path):
    """`optimize` prints a table, draws a plot and serves the version from the best file."""
    done = modelctl(
        *("optimize", "m", "1.0.0", "--goal", "size", "--windows", windows, *QUICK),
        *("--min-agreement", "0.9", "--by", "olga", "--reason", "smaller"),
    )
    assert done.exit_code == 0, done.output
    for text in ("fp32", "int8-rowwise-lstm", "best", "recommended: ", "is served from model_"):
        assert text in done.stdout
    assert (tmp_path / "m-1.0.0-size.png").read_bytes().startswith(b"\x89PNG")
    shown = metadata(modelctl)
    assert shown["serving_artifact"] == shown["optimization"]["recommended"]["artifact"]
    assert "int8" in shown["serving_artifact"]
    history = json.loads(modelctl("history", "m", "--json").stdout)
    assert (history[-1]["action"], history[-1]["by"], history[-1]["reason"]) == (
        "optimized",
        "olga",
        "smaller",
    )
    assert modelctl("verify").exit_code == 0


def test_pin(modelctl, registered):
    """`pin` selects an artifact, the default without one, and rejects an unknown one."""
    done = modelctl("pin", "m", "1.0.0", "model.pt")
    assert done.stdout == "m:1.0.0 is served from model.pt once deployed\n"
    assert metadata(modelctl)["serving_artifact"] == "model.pt"
    assert json.loads(modelctl("pin", "m", "1.0.0", "--json").stdout)["serving_artifact"] is None
    rejected = modelctl("pin", "m", "1.0.0", "model_int8.onnx")
    assert rejected.exit_code == 1
    assert "one of the version's artifacts: model.pt" in rejected.stderr


def test_dry_run(modelctl, registered, tmp_path):
    """A dry run changes nothing, and warns if the windows are noise."""
    before = metadata(modelctl)
    plot = tmp_path / "plot.svg"
    done = modelctl("optimize", "m", "1.0.0", "--dry-run", "--json", "--plot", plot, *QUICK)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["windows"]["real"] is False
    assert "no real windows" in done.stderr
    assert plot.read_text().lstrip().startswith("<?xml")
    assert metadata(modelctl) == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--budget", "0"), "budget_s: expected a number above 0"),
        (("--min-agreement", "2"), "direction_agreement: expected a share from 0 to 1"),
        (("--batches", "0"), "batches: expected a whole number of at least 1"),
        (("--windows", "absent.npy"), "absent.npy: expected a .npy or .npz file"),
        (("--plot", "plot.txt"), "plot: expected a file named .png or .svg"),
        (("--plot", "absent/plot.png"), "there is no folder absent"),
    ],
)
def test_unusable_option(modelctl, registered, arguments, problem):
    """An option that cannot be used is rejected before the search."""
    done = modelctl("optimize", "m", "1.0.0", *arguments)
    assert done.exit_code == 1
    assert problem in done.stderr.replace("\n", " ")


def test_exit_codes(modelctl, registered):
    """An unknown version ends with exit code 1, a mistyped option with 2."""
    assert modelctl("optimize", "m", "9.9.9").exit_code == 1
    assert modelctl("optimize", "m", "1.0.0", "--goal", "beauty").exit_code == 2
    assert modelctl("optimize", "m", "1.0.0", "--batches", "one").exit_code == 2
