"""Reads models and windows from the files of a trainer.

A pickle runs code when it is loaded. Therefore only the trainer's own environment loads it, and the
server never does.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.convert.errors import MissingConverterError, UnsupportedModelError
from registry.reference_outputs import PREFIX

SUFFIXES = (".joblib", ".pickle", ".pkl", ".txt", ".json", ".ubj", ".cbm")
"""The files that can be read: pickles, LightGBM as text, XGBoost, CatBoost."""


def load_model(path: Path) -> Any:  # noqa: ANN401  a model of any supported library
    """Return the fitted model in a file; a pickle is loaded, which runs the code in it.

    Raises:
        UnsupportedModelError: there is no such file, or it holds no model.
        MissingConverterError: a library is not installed.
    """
    if not path.is_file() or path.suffix not in SUFFIXES:
        received = path.suffix or "a file without a suffix"
        raise UnsupportedModelError(
            str(path),
            f"a file that ends in {', '.join(SUFFIXES)}",
            received if path.is_file() else "no such file",
        )
    try:
        match path.suffix:
            case ".txt":
                from registry.convert.lightgbm_models import load
            case ".json" | ".ubj":
                from registry.convert.xgboost_models import load
            case ".cbm":
                from registry.convert.catboost_models import load
            case _:
                load = _unpickle
        return load(path)
    except ModuleNotFoundError as error:
        extra = "the package with which the model was trained"
        raise MissingConverterError(str(error.name), extra) from error


def read_array(path: Path) -> NDArray[np.floating]:
    """Return the windows in a .npy file, or in a .npz file of one array beside outputs.

    Raises:
        UnsupportedModelError: the file does not exist or has other content.
    """
    expected = "a .npy file, or a .npz file of one array of windows"
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return np.asarray(loaded)
        with loaded:
            names = [name for name in loaded.files if not name.startswith(PREFIX)]
            if len(names) != 1:
                raise UnsupportedModelError(str(path), expected, f"the arrays {loaded.files}")
            return np.asarray(loaded[names[0]])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UnsupportedModelError(str(path), expected, problem) from error


def _unpickle(path: Path) -> Any:  # noqa: ANN401  a model of any supported library
    try:
        if path.suffix == ".joblib":
            import joblib

            return joblib.load(path)
        return pickle.loads(path.read_bytes())  # noqa: S301  the trainer's own model
    except ModuleNotFoundError:
        raise
    # A damaged pickle, or one of another version of a library, may raise any error.
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise UnsupportedModelError(str(path), "a pickled model", problem) from error
