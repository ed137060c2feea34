"""CatBoost, converted by its own exporter."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.convert.errors import UnsupportedModelError
from registry.convert.trained_model import Loss, TrainedModel, predictor_in_float32

if TYPE_CHECKING:
    import onnx

_EXPONENTIAL = ("Poisson", "Tweedie", "LogLinQuantile")
"""The loss functions whose prediction is the exponential of the trees' sum."""


def read(model: Any) -> TrainedModel:  # noqa: ANN401  any class of the library
    """Return a fitted CatBoostClassifier or CatBoostRegressor as functions."""
    import catboost

    if not isinstance(model, catboost.CatBoostClassifier | catboost.CatBoostRegressor):
        raise UnsupportedModelError(
            type(model).__name__,
            "a fitted CatBoostClassifier or CatBoostRegressor",
            type(model).__name__,
        )
    classes = None
    if isinstance(model, catboost.CatBoostClassifier):
        classes = tuple(np.asarray(model.classes_).tolist())

    return TrainedModel(
        model_type=type(model).__name__,
        framework="catboost",
        converter="catboost",
        width=len(model.feature_names_),
        classes=classes,
        predict=predictor_in_float32(model, classes is not None),
        to_onnx=lambda: _export(model),
        losses=(
            *_losses_of_columns(model),
            *_threshold_losses(model),
            *_losses(_loss_function(model)),
            *_label_losses(classes),
        ),
        versions={"catboost": catboost.__version__},
    )


def _export(model: Any) -> "onnx.ModelProto":  # noqa: ANN401  any class of the library
    import onnx

    with tempfile.TemporaryDirectory(prefix="tradeserve-convert-") as folder:
        path = Path(folder, "model.onnx")
        model.save_model(str(path), format="onnx")
        return onnx.load(path)


def _loss_function(model: Any) -> str:  # noqa: ANN401  any class of the library
    return str(model.get_all_params().get("loss_function", ""))


def _losses_of_columns(model: Any) -> list[Loss]:  # noqa: ANN401  any class of the library
    losses = []
    columns = [*model.get_cat_feature_indices(), *model.get_text_feature_indices()]
    if columns:
        losses.append(
            Loss(
                f"categories or texts in the columns {', '.join(map(str, columns))}",
                "there is no such input, and windows hold numbers only",
                "train on one column per category (one-hot)",
            )
        )
    policy = model.get_all_params().get("grow_policy", "SymmetricTree")
    if policy != "SymmetricTree":
        losses.append(
            Loss(
                f"grow_policy={policy}",
                "there are no such trees, and the exporter raises an error",
                "train with grow_policy='SymmetricTree'",
            )
        )
    return losses


def _threshold_losses(model: Any) -> list[Loss]:  # noqa: ANN401  any class of the library
    """Return the loss of a probability other than 0.5 from which the second class is chosen."""
    threshold = getattr(model, "get_probability_threshold", lambda: None)()
    if threshold is None or threshold == 0.5:
        return []
    return [
        Loss(
            f"a probability threshold of {threshold:g}",
            "the class with the highest probability is chosen",
            "call model.set_probability_threshold(0.5), and let the bot compare the confidence "
            "with the threshold",
        )
    ]


def _label_losses(classes: tuple[object, ...] | None) -> list[Loss]:
    """Return the loss of labels that the exporter rejects."""
    if not any(isinstance(value, float | bool) for value in classes or ()):
        return []
    return [
        Loss(
            f"the classes {', '.join(map(str, classes or ()))}",
            "there are integers and texts only, and the exporter raises an error",
            "train on target.astype(int)",
        )
    ]


def _losses(loss_function: str) -> list[Loss]:
    name = loss_function.partition(":")[0]
    if name == "MultiClassOneVsAll":
        return [
            Loss(
                "loss_function MultiClassOneVsAll",
                "the scores become a softmax",
                "train with loss_function='MultiClass'",
            )
        ]
    if name == "MultiQuantile":
        return [
            Loss(
                "loss_function MultiQuantile",
                "there is a file that does not load",
                "train one model per level with loss_function='Quantile:alpha=LEVEL', or XGBoost's "
                "reg:quantileerror with a list of levels",
            )
        ]
    if name in _EXPONENTIAL:
        return [
            Loss(
                f"loss_function {name}",
                "the logarithm is returned",
                "train with loss_function='RMSE', on the logarithm if need be",
            )
        ]
    return []


def load(path: Any) -> Any:  # noqa: ANN401  a path, and a model of the library
    """Return the classifier or regressor in a `.cbm` file."""
    import catboost

    try:
        loaded = catboost.CatBoost().load_model(str(path))
        is_classifier = len(np.asarray(loaded.classes_)) > 0
        model = catboost.CatBoostClassifier() if is_classifier else catboost.CatBoostRegressor()
        return model.load_model(str(path))
    except catboost.CatBoostError as error:
        raise UnsupportedModelError(str(path), "a CatBoost model", str(error)) from error
