"""XGBoost, converted by onnxmltools; the graph is corrected where the converter errs.

- `multi:softmax` differs from `multi:softprob` only in what `predict` returns; the converter omits
  the softmax of the probabilities.
- With `num_parallel_tree` above 1 or several quantiles, the converter assigns the trees to the
  wrong classes or quantiles; the model itself lists the class of each tree.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.convert.errors import UnsupportedModelError
from registry.convert.trained_model import Loss, TrainedModel, predictor_in_float32, ranking_loss

if TYPE_CHECKING:
    import onnx


def read(model: Any) -> TrainedModel:  # noqa: ANN401  any class of the library
    """Return a fitted XGBClassifier, XGBRegressor, XGBRFClassifier or XGBRFRegressor."""
    import onnxmltools
    import xgboost

    if not isinstance(model, xgboost.XGBModel):
        raise UnsupportedModelError(
            type(model).__name__,
            "a fitted XGBClassifier or XGBRegressor",
            f"{type(model).__name__}; save it with save_model and load it with "
            f"XGBClassifier.load_model or XGBRegressor.load_model",
        )
    booster = model.get_booster()
    document = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective = document["objective"]["name"]
    classes = None
    if isinstance(model, xgboost.XGBClassifier):
        classes = tuple(np.asarray(model.classes_).tolist())

    return TrainedModel(
        model_type=type(model).__name__,
        framework="xgboost",
        converter="onnxmltools",
        width=booster.num_features(),
        classes=classes,
        predict=predictor_in_float32(model, classes is not None),
        to_onnx=lambda: _convert(model, document, booster.num_features()),
        losses=(
            *_losses_of_wrapper(model, classes, objective),
            *_losses(document, objective, booster.feature_types),
        ),
        quantile_levels=_quantile_levels(document["objective"]),
        versions={"xgboost": xgboost.__version__, "onnxmltools": onnxmltools.__version__},
    )


def _convert(model: Any, document: dict[str, Any], width: int) -> "onnx.ModelProto":  # noqa: ANN401
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = model.get_booster()
    names, booster.feature_names = booster.feature_names, None
    try:
        converted: onnx.ModelProto = convert_xgboost(
            model, initial_types=[("features", FloatTensorType([None, width]))]
        )
    finally:
        booster.feature_names = names
    parameters = document["learner_model_param"]
    if max(int(parameters["num_class"]), int(parameters.get("num_target", 1))) > 1:
        _correct_outputs(converted, _tree_model(document)["tree_info"])
    return converted


def _correct_outputs(converted: "onnx.ModelProto", output_of_tree: list[int]) -> None:
    """Assign every tree to its class or target, and return probabilities of classes."""
    for node in converted.graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        kind = "class" if node.op_type == "TreeEnsembleClassifier" else "target"
        trees = list(attributes[f"{kind}_treeids"].ints)
        attributes[f"{kind}_ids"].ints[:] = [output_of_tree[tree] for tree in trees]
        if kind == "class":
            attributes["post_transform"].s = b"SOFTMAX"


def _quantile_levels(objective: dict[str, Any]) -> tuple[float, ...]:
    """Return the levels of `reg:quantileerror`, if there are several."""
    text = objective.get("quantile_loss_param", {}).get("quantile_alpha", "[]")
    levels = tuple(json.loads(text))
    return levels if len(levels) > 1 else ()


def _tree_model(document: dict[str, Any]) -> dict[str, Any]:
    """Return the trees of a model's document; those of dart are one level deeper."""
    boosting = document["gradient_booster"]
    trees: dict[str, Any] = boosting.get("gbtree", boosting).get("model", {"tree_info": []})
    return trees


def _losses_of_wrapper(
    model: Any,  # noqa: ANN401  any class of the library
    classes: tuple[object, ...] | None,
    objective: str,
) -> list[Loss]:
    losses = []
    if model.missing is not None and not np.isnan(model.missing):
        losses.append(
            Loss(
                f"missing={model.missing:g}",
                "NaN alone is a missing value",
                "mark missing values as NaN, in the training and in the requests",
            )
        )
    if callable(model.objective):
        losses.append(
            Loss(
                "an objective of your own",
                "there is no such objective, and the converter raises an error",
                "train with an objective of XGBoost, such as 'binary:logistic'",
            )
        )
    if objective.startswith("rank:"):
        losses.append(ranking_loss(objective))
    if classes is not None and len(classes) == 2 and objective.startswith("multi:"):
        losses.append(
            Loss(
                f"objective {objective} of two classes",
                "the trees of both classes are added",
                "train with objective='binary:logistic'",
            )
        )
    return losses


def _losses(
    document: dict[str, Any], objective: str, feature_types: Sequence[str] | None
) -> list[Loss]:
    losses = []
    if objective == "reg:logistic":
        losses.append(
            Loss(
                "objective reg:logistic",
                "the margin is returned in place of the probability",
                "train an XGBClassifier with binary:logistic",
            )
        )
    booster = document["gradient_booster"]["name"]
    if booster != "gbtree":
        losses.append(
            Loss(
                f"booster={booster!r}",
                "there is no such booster, and the converter raises KeyError",
                "train with booster='gbtree'",
            )
        )
    elif "best_iteration" in document["attributes"] and _quantile_levels(document["objective"]):
        losses.append(
            Loss(
                "several quantiles and early stopping",
                "most trees up to the best iteration are dropped",
                "train for the best number of iterations without early stopping",
            )
        )
    elif (
        int(_tree_model(document)["gbtree_model_param"]["num_parallel_tree"]) > 1
        and "best_iteration" in document["attributes"]
    ):
        losses.append(
            Loss(
                "num_parallel_tree above 1 and early stopping",
                "most trees up to the best iteration are dropped",
                "train for the best number of iterations without early stopping",
            )
        )
    if (
        int(
            _tree_model(document)
            .get("trees", [{}])[0]
            .get("tree_param", {})
            .get("size_leaf_vector", 1)
        )
        > 1
    ):
        losses.append(
            Loss(
                "multi_strategy='multi_output_tree'",
                "there are no such trees, and the converter raises an error",
                "train with multi_strategy='one_output_per_tree'",
            )
        )
    if "c" in (feature_types or []):
        losses.append(
            Loss(
                "enable_categorical=True",
                "a value is taken for the code of a category",
                "train on one column per category (one-hot)",
            )
        )
    return losses


def load(path: Any) -> Any:  # noqa: ANN401  a path, and a model of the library
    """Return the classifier or regressor in a file of `save_model`."""
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(str(path))
    except xgboost.core.XGBoostError as error:
        raise UnsupportedModelError(str(path), "a file of save_model", str(error)) from error
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    is_classifier = objective.startswith(("multi:", "binary:"))
    model = xgboost.XGBClassifier() if is_classifier else xgboost.XGBRegressor()
    model.load_model(str(path))
    return model
