"""scikit-learn, converted by skl2onnx."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from registry.convert import graph
from registry.convert.errors import UnsupportedModelError
from registry.convert.trained_model import Loss, TrainedModel, as_columns

if TYPE_CHECKING:
    import onnx

_NESTED = (
    "steps",
    "transformers_",
    "transformer_list",
    "estimators_",
    "calibrated_classifiers_",
    "final_estimator_",
    "best_estimator_",
    "estimator_",
    "estimator",
)
"""The attributes that hold the fitted parts of a compound model."""


def read(model: Any) -> TrainedModel:  # noqa: ANN401  any estimator
    """Return a fitted classifier or regressor, or a pipeline that ends with one, as functions."""
    import skl2onnx
    import sklearn
    from sklearn.base import is_classifier, is_regressor

    name = type(model).__name__
    classes = None
    if is_classifier(model):
        if not hasattr(model, "predict_proba"):
            raise UnsupportedModelError(
                name,
                "a classifier with predict_proba",
                "one without it; use probability=True or another loss",
            )
        if isinstance(model.classes_, list):
            received = f"one of {len(model.classes_)} outputs"
            raise UnsupportedModelError(name, "a classifier of one output", received)
        classes = tuple(np.asarray(model.classes_).tolist())
    elif not is_regressor(model):
        raise UnsupportedModelError(name, "a fitted classifier or regressor", name)
    width = int(getattr(model, "n_features_in_", 0))
    parts = list(_parts(model))
    is_imputed = any("Imputer" in type(part).__name__ for part in parts)

    def predict(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        values = np.asarray(rows, dtype=np.float64)
        with warnings.catch_warnings():
            # A model that was fitted on a data frame receives rows in the order of its columns.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            return as_columns(
                model.predict(values) if classes is None else model.predict_proba(values)
            )

    return TrainedModel(
        model_type=name,
        framework="scikit-learn",
        converter="skl2onnx",
        width=width,
        classes=classes,
        predict=predict,
        to_onnx=lambda: _convert(model, width, np.float32),
        to_double_onnx=lambda: _convert_in_doubles(model, width),
        losses=tuple(loss for part in parts for loss in _losses(part)),
        missing_losses=tuple(
            Loss(
                f"NaN in {type(part).__name__}",
                "rows with NaN take another branch",
                "replace NaN in the features, or train a HistGradientBoosting model",
            )
            for part in parts
            if not is_imputed
            if "Forest" in type(part).__name__ or "Tree" in type(part).__name__
        ),
        versions={"scikit-learn": sklearn.__version__, "skl2onnx": skl2onnx.__version__},
    )


def _convert_in_doubles(model: Any, width: int) -> "onnx.ModelProto":  # noqa: ANN401
    converted = _convert(model, width, np.float64)
    graph.round_for_trees(converted)
    return converted


def _convert(model: Any, width: int, kind: type[np.floating]) -> "onnx.ModelProto":  # noqa: ANN401
    from skl2onnx import to_onnx

    # Without the option zipmap, which some compound models pass to parts that reject it.
    try:
        converted: onnx.ModelProto = to_onnx(model, np.zeros((1, width), kind))
    except ValueError as error:
        if not str(error).startswith("Unable to create node"):
            raise
        problem = "its attributes are NumPy integers, which protobuf 7 rejects"
        raise ValueError(f"{problem}; convert with protobuf below 7 installed") from error
    return converted


def _parts(model: Any) -> Iterator[Any]:  # noqa: ANN401  any estimator
    """Yield a model and the models in it."""
    yield model
    for attribute in _NESTED:
        nested = getattr(model, attribute, None)
        for part in nested if isinstance(nested, list | tuple) else [nested]:
            named = part[1] if isinstance(part, tuple) else part
            if hasattr(named, "get_params") or hasattr(named, "calibrators"):
                yield from _parts(named)


def _losses(part: Any) -> list[Loss]:  # noqa: ANN401  any estimator
    name = type(part).__name__
    if name == "CalibratedClassifierCV":
        if part.method == "isotonic":
            return [
                Loss(
                    "isotonic calibration",
                    "the nearest knot is returned in place of the interpolation",
                    "calibrate with method='sigmoid'",
                )
            ]
        if any(type(nested).__name__ == "Pipeline" for nested in _parts(part.estimator)):
            return [
                Loss(
                    "a calibrated pipeline",
                    "the calibration is applied to another number",
                    "calibrate the classifier inside the pipeline",
                )
            ]
    if name in ("TunedThresholdClassifierCV", "FixedThresholdClassifier"):
        return [
            Loss(
                "a decision threshold",
                "the class with the highest probability is chosen",
                "convert model.estimator_, and let the bot compare the confidence",
            )
        ]
    library = type(part).__module__.partition(".")[0]
    if library in ("lightgbm", "xgboost", "catboost"):
        return [
            Loss(
                f"a {name} inside",
                "there is no such part, and the converter raises an error",
                f"convert the {name} alone: trees need no scaler",
            )
        ]
    if name.startswith("HistGradientBoosting") and _has_categories(part):
        return [
            Loss(
                "categorical_features",
                "categories are compared as numbers",
                "train on one column per category (one-hot)",
            )
        ]
    return []


def _has_categories(part: Any) -> bool:  # noqa: ANN401  a histogram boosting model
    is_categorical = getattr(part, "is_categorical_", None)
    return is_categorical is not None and bool(np.any(is_categorical))
