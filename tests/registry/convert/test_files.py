"""Models and windows are read from the files of a trainer."""

import pickle

import numpy as np
import pytest

from registry.convert.errors import UnsupportedModelError
from registry.convert.files import load_model, read_array


@pytest.mark.parametrize("suffix", [".pkl", ".joblib"])
def test_pickle(tmp_path, suffix):
    """A pickle of the trainer is loaded."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert load_model(path) == {"a": 1}


def test_files_of_libraries(tmp_path, rows, classes):
    """A LightGBM text, an XGBoost file and a CatBoost file are loaded as models."""
    from catboost import CatBoostClassifier
    from lightgbm import LGBMClassifier
    from xgboost import XGBClassifier

    light = LGBMClassifier(n_estimators=2, verbose=-1).fit(rows, classes)
    light.booster_.save_model(tmp_path / "model.txt")
    XGBClassifier(n_estimators=2).fit(rows, classes).save_model(tmp_path / "model.json")
    cat = CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False)
    cat.fit(rows, classes).save_model(str(tmp_path / "model.cbm"))
    np.testing.assert_allclose(
        load_model(tmp_path / "model.txt").predict(rows), light.predict_proba(rows)
    )
    assert load_model(tmp_path / "model.json").predict_proba(rows).shape == (300, 3)
    assert load_model(tmp_path / "model.cbm").predict_proba(rows).shape == (300, 3)


@pytest.mark.parametrize(
    "name", ["a.pkl", "a.joblib", "a.txt", "a.json", "a.cbm", "a.h5", "none.pkl"]
)
def test_damaged_model(tmp_path, name):
    """A file that is damaged, of another kind or missing is reported with its path."""
    if name != "none.pkl":
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(UnsupportedModelError, match=name):
        load_model(tmp_path / name)


def test_windows(tmp_path):
    """Windows are read from .npy and .npz, without the outputs beside them."""
    windows = np.zeros((2, 3, 4))
    np.save(tmp_path / "a.npy", windows)
    np.savez(tmp_path / "a.npz", **{"windows": windows, "output:confidence": np.zeros(2)})
    assert read_array(tmp_path / "a.npy").shape == read_array(tmp_path / "a.npz").shape == (2, 3, 4)
    np.savez(tmp_path / "b.npz", a=windows, b=windows)
    np.save(tmp_path / "c.npy", np.array([None]))
    for name in ("b.npz", "c.npy", "missing.npy"):
        with pytest.raises(UnsupportedModelError, match=name):
            read_array(tmp_path / name)
