"""Converts a fitted model to a version that is ready to register."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.convert import verification
from registry.convert.classes import label_map_of, other_decisions
from registry.convert.equality import EXTRAS, convert_exactly, first_line, needs_doubles
from registry.convert.errors import (
    MissingConverterError,
    UnsupportedModelError,
)
from registry.convert.trained_model import TrainedModel
from registry.convert.verification import Check
from registry.reference_outputs import dump_recorded

MAX_RECORDED = 2000
"""The number of windows that are recorded with their outputs, evenly chosen."""

_LIBRARIES = ("lightgbm", "xgboost", "catboost", "sklearn")
"""The modules of the supported libraries; a class may derive from several, the first decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A converted model with its reference outputs."""

    onnx: bytes
    """The ONNX file."""
    windows: NDArray[np.floating]
    """The recorded windows, (windows, timesteps, features), in the type of the model's input:
    float64 if its outputs depend on digits that float32 does not have."""
    outputs: Mapping[str, NDArray[np.float64]]
    """The original's outputs for these windows by meaning."""
    model_type: str
    """The class of the original."""
    framework: str
    """The library that trained it."""
    label_map: Mapping[int, str] | None
    """The direction of each class index; None for a regressor."""
    dead_band: float | None = None
    """The return up to which a regressor's prediction is HOLD."""
    quantile_levels: tuple[float, ...] = ()
    """The levels of a regressor's quantiles; empty without any."""
    checks: tuple[Check, ...]
    """The comparisons with the original."""
    other_decisions: int
    """The number of given windows for which the original's `predict` chooses another class than the
    one with the highest probability, which a server chooses."""
    keeps_missing: bool
    """Whether NaN gives the outputs of the original. Otherwise a window must not contain NaN."""
    versions: Mapping[str, str]
    """The versions of the libraries."""

    @property
    def registration(self) -> dict[str, Any]:
        """Return the keyword arguments for `register_model`, without the name and the files.

        Missing values are declared if the given windows contain some. A regressor needs a dead band
        in `dataset_info`; it is to be added if `convert` received none.
        """
        fields: dict[str, Any] = {
            "model_type": self.model_type,
            "framework": self.framework,
            "input_shape": self.windows.shape[1:],
            "output_names": {meaning: meaning for meaning in self.outputs},
        }
        if self.label_map is not None:
            fields["label_map"] = dict(self.label_map)
        info: dict[str, Any] = {}
        if np.isnan(self.windows).any():
            info["missing_values"] = True
        if self.dead_band is not None:
            info["dead_band"] = self.dead_band
        if self.quantile_levels:
            info["quantile_levels"] = list(self.quantile_levels)
        if info:
            fields["dataset_info"] = info
        return fields

    def write(self, folder: Path) -> None:
        """Write `model.onnx`, `windows.npz` and `conversion.json`, the report, to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(self.onnx)
        (folder / "windows.npz").write_bytes(dump_recorded(self.windows, self.outputs))
        report = {
            **self.registration,
            "versions": dict(self.versions),
            "keeps_missing": self.keeps_missing,
            "other_decisions": self.other_decisions,
            "checks": {
                check.rows: {
                    "count": check.agreement.windows,
                    "differing": len(check.agreement.differing),
                    "largest_difference": check.agreement.largest,
                }
                for check in self.checks
            },
        }
        (folder / "conversion.json").write_text(json.dumps(report, indent=1) + "\n")


def convert(
    model: Any,  # noqa: ANN401  a model of any supported library
    windows: NDArray[np.floating],
    directions: Mapping[Any, str] | None = None,
    dead_band: float | None = None,
) -> Conversion:
    """Convert a fitted model and verify that the result returns what the model does.

    Both run on the given windows, on rows directly beside the thresholds of trees, on rows with
    zeros, and on rows with missing values if the model accepts them. The given windows are recorded
    with the model's outputs: every artifact of the version must return them.

    If the windows are float64 and the outputs depend on digits that float32 does not have, the
    converted model has an input of doubles, and so have the recorded windows. A model whose own
    steps need doubles has them inside, whatever its input.

    Args:
        model: a fitted model of scikit-learn, LightGBM, XGBoost or CatBoost.
        windows: real windows such as those of the training, (windows, timesteps, features), or
            (windows, features) for a model without a time axis. The model receives each as one row.
        directions: HOLD, BUY or SELL by class; not needed if the classes have these names.
        dead_band: the return up to which a regressor's prediction is HOLD, for its registration.

    Raises:
        LostOptionError: the converter is known to lose an option of the model.
        OutputsDifferError: the converted model returns other values.
        ConverterFailedError: the converter raises an error.
        UnsupportedModelError: the model, its classes or the windows are none that can be served.
        MissingConverterError: a library is not installed.
    """
    trained = read_model(model)
    given = _as_windows(windows, trained.width)
    trained.check_losses(bool(np.isnan(given).any()))
    label_map = None if trained.classes is None else label_map_of(trained.classes, directions)
    _check_dead_band(trained, dead_band)
    try:
        values = given if needs_doubles(trained, given) else given.astype(np.float32)
        rows = values.reshape(len(values), -1)
        expected = trained.predict(rows)
    # The libraries raise errors of any class.
    except Exception as error:
        raise UnsupportedModelError(
            trained.model_type,
            f"a model of rows of {trained.width} numbers; fit it on an array without names, and "
            f"select columns by their number",
            f"one that raises {type(error).__name__}: {first_line(error)}",
        ) from error
    _check_outputs(trained, expected.shape[1])
    content, checks = convert_exactly(trained, rows, expected.shape[1])
    others = 0
    if trained.classes is not None:
        others = other_decisions(model, trained.classes, rows, expected)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_RECORDED)).astype(int))
    missing = [check.is_passed for check in checks if check.rows == verification.MISSING]
    return Conversion(
        onnx=content,
        windows=values[chosen],
        outputs={trained.meaning: expected[chosen]},
        model_type=trained.model_type,
        framework=trained.framework,
        label_map=label_map,
        dead_band=dead_band,
        quantile_levels=trained.quantile_levels,
        checks=tuple(checks),
        other_decisions=others,
        keeps_missing=all(missing) and bool(missing),
        versions=trained.versions,
    )


def read_model(model: Any) -> TrainedModel:  # noqa: ANN401  a model of any supported library
    """Return a fitted model as functions.

    Raises:
        UnsupportedModelError: no supported library has trained it, or it is not fitted.
        MissingConverterError: a library is not installed.
    """
    modules = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    library = next((name for name in _LIBRARIES if name in modules), None)
    if library is None:
        raise UnsupportedModelError(
            "this object",
            "a fitted model of scikit-learn, LightGBM, XGBoost or CatBoost",
            f"{type(model).__module__}.{type(model).__name__}",
        )
    try:
        return _reader(library)(model)
    except ModuleNotFoundError as error:
        raise MissingConverterError(str(error.name), EXTRAS[library]) from error
    except (AttributeError, ValueError) as error:
        raise UnsupportedModelError(type(model).__name__, "a fitted model", str(error)) from error


def _reader(library: str) -> Callable[[Any], TrainedModel]:
    match library:
        case "lightgbm":
            from registry.convert.lightgbm_models import read
        case "xgboost":
            from registry.convert.xgboost_models import read
        case "catboost":
            from registry.convert.catboost_models import read
        case _:
            from registry.convert.scikit_learn_models import read
    return read


def _as_windows(windows: NDArray[np.floating], width: int) -> NDArray[np.floating]:
    """Return windows of shape (windows, timesteps, features) in float32 or float64."""
    array = np.asarray(windows)
    if array.ndim == 2:
        array = array[:, np.newaxis, :]
    received = f"{array.dtype} of shape {np.shape(windows)}"
    if array.dtype.kind not in "fiu" or array.ndim != 3 or len(array) == 0:
        expected = "an array of numbers, (windows, timesteps, features) or (windows, features)"
        raise UnsupportedModelError("these windows", expected, received)
    if array.shape[1] * array.shape[2] != width:
        expected = f"windows of {width} values, as many as the model has features"
        raise UnsupportedModelError("these windows", expected, received)
    # Integers and wider floats may have digits that float32 does not have, as volumes do.
    is_single = array.dtype in (np.float16, np.float32)
    return array.astype(np.float32 if is_single else np.float64)


def _check_dead_band(trained: TrainedModel, dead_band: float | None) -> None:
    if dead_band is None:
        return
    if trained.classes is not None:
        raise UnsupportedModelError(trained.model_type, "no dead band, since it has classes", "one")
    if not 0 < dead_band < math.inf:
        raise UnsupportedModelError("the model", "a dead band above 0", repr(dead_band))


def _check_outputs(trained: TrainedModel, width: int) -> None:
    """Raise UnsupportedModelError if the outputs are none of a prediction.

    They are one probability per class, one return, or quantiles with the median.
    """
    if trained.classes is not None and width != len(trained.classes):
        wanted = f"one probability for each of the {len(trained.classes)} classes"
        raise UnsupportedModelError(trained.model_type, wanted, f"{width} outputs")
    levels = trained.quantile_levels
    if levels and (0.5 not in levels or list(levels) != sorted(set(levels))):
        raise UnsupportedModelError(
            trained.model_type,
            "ascending levels with 0.5, whose quantile is the expected return; train with such a "
            "quantile_alpha",
            f"the levels {list(levels)}",
        )
    expected = len(levels) or 1
    if trained.classes is None and width != expected:
        raise UnsupportedModelError(
            trained.model_type,
            "one output, or the quantiles of an XGBRegressor; otherwise write the ONNX file with "
            "the library's converter and register it with dump_recorded and quantile_levels",
            f"{width} outputs",
        )
