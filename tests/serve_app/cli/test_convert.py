"""`modelctl convert` writes a version that its printed command registers."""

import pickle
import shlex

import numpy as np
import pytest

from tests.serve_app.cli.commands import printed


@pytest.fixture
def model(tmp_path):
    """Write a pickled classifier of 3 x 2 values and its windows; return both paths."""
    from sklearn.linear_model import LogisticRegression

    windows = np.random.default_rng(0).standard_normal((60, 3, 2), dtype=np.float32)
    rows = windows.reshape(60, 6)
    classes = (rows[:, 0] > 0.3).astype(int) + (rows[:, 5] > 0.2)
    paths = tmp_path / "model.pkl", tmp_path / "windows.npy"
    paths[0].write_bytes(pickle.dumps(LogisticRegression().fit(rows, classes)))
    np.save(paths[1], windows)
    return paths


def test_converted_version_is_registered(model, modelctl, tmp_path):
    """The printed command registers the version with its reference outputs."""
    directions = ("--direction", "0=SELL", "--direction", "1=HOLD", "--direction", "2=BUY")
    folder = tmp_path / "converted"
    done = modelctl("convert", *model, "--output", folder, *directions)
    assert done.exit_code == 0, done.output
    assert "60 given windows: equal" in done.stdout
    command = shlex.split(done.stdout.splitlines()[-1])
    assert command[:4] == ["modelctl", "register", "NAME", "VERSION"]
    info = printed(modelctl("register", "m", "1.0.0", *command[4:], "--json"))
    assert info["reference_outputs"] == ["direction_probabilities"]
    assert info["label_map"] == {"0": "SELL", "1": "HOLD", "2": "BUY"}
    assert modelctl("promote", "m", "1.0.0").stderr == ""


def test_rejected_model_leaves_no_file(model, modelctl, tmp_path):
    """Without directions of the classes no file is written."""
    folder = tmp_path / "converted"
    done = modelctl("convert", *model, "--output", folder)
    assert done.exit_code == 1
    assert "--direction CLASS=DIRECTION" in done.stderr
    assert not folder.exists()


def test_converted_regressor_is_registered(modelctl, tmp_path):
    """The printed command of a regressor of quantiles registers it without a change."""
    from xgboost import XGBRegressor

    rows = np.random.default_rng(0).standard_normal((60, 6), dtype=np.float32)
    quantiles = {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5]}
    model = XGBRegressor(n_estimators=3, n_jobs=1, **quantiles).fit(rows, rows[:, 0] * 0.01)
    paths = tmp_path / "model.pkl", tmp_path / "windows.npy"
    paths[0].write_bytes(pickle.dumps(model))
    np.save(paths[1], rows)
    folder = tmp_path / "converted"
    rejected = modelctl("convert", *paths, "--output", folder)
    assert rejected.exit_code == 2
    assert "--dead-band" in rejected.stderr
    assert not folder.exists()
    done = modelctl("convert", *paths, "--output", folder, "--dead-band", "0.002")
    assert done.exit_code == 0, done.output
    command = shlex.split(done.stdout.splitlines()[-1])
    info = printed(modelctl("register", "m", "1.0.0", *command[4:], "--json"))
    assert info["dataset_info"] == {"dead_band": 0.002, "quantile_levels": [0.1, 0.5]}
    assert info["output_names"] == {"return_quantiles": "return_quantiles"}
    assert info["reference_outputs"] == ["return_quantiles"]
    assert modelctl("promote", "m", "1.0.0").stderr == ""
