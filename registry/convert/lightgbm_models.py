"""LightGBM, converted by onnxmltools from the text of the model.

The text is corrected before the conversion where the format allows it:

- Thresholds are doubles, and the converter writes float32. Rounded down, they send every float32
  value to the same branch: `x <= t` holds for the same float32 values as `x <= floor(t)`.
- For windows in float64 they must stay doubles, which the operators of ONNX accept. The text that
  is converted holds the number of each threshold in place of it, and the graph then the threshold.
- Categories are integers, to which LightGBM truncates a value; the graph is extended by that step.
- `fair` and `mape`, unknown to the converter, return the sum of the trees as regression does.
- A random forest averages its trees, which the converter replaces by a sum or a constant. Leaves
  divided by the number of iterations have that average as their sum.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.convert import graph
from registry.convert.errors import UnsupportedModelError
from registry.convert.trained_model import (
    Loss,
    TrainedModel,
    as_columns,
    both_classes,
    ranking_loss,
)

if TYPE_CHECKING:
    import onnx

_Numbers: TypeAlias = NDArray[np.float64]

_MAX_NUMBER = 2**24
"""The largest number up to which float32 holds every integer."""

_IS_CATEGORY = 0b0001
_MISSING_TYPE = 0b1100
_ZERO_IS_MISSING = 0b0100
"""The bits of a split's `decision_type`: it is one of categories, and which values are missing."""

_ZERO = np.float32(1e-35)
"""The largest value that LightGBM takes for 0."""


def read(model: Any) -> TrainedModel:  # noqa: ANN401  any class of the library
    """Return a fitted LGBMClassifier, LGBMRegressor or Booster as functions."""
    import lightgbm
    import onnxmltools

    booster = model if isinstance(model, lightgbm.Booster) else model.booster_
    text = booster.model_to_string(num_iteration=booster.best_iteration)
    objective = _field(text, "objective").split() or ["custom"]
    count = int(_field(text, "num_class") or 1)
    is_classifier = objective[0] in ("binary", "multiclass", "multiclassova")
    classes = None
    if is_classifier:
        named = getattr(model, "classes_", range(max(count, 2)))
        classes = tuple(np.asarray(named).tolist())

    # A wrapper adds parameters to `predict`, and a class derived from it may change more.
    own = model.predict_proba if hasattr(model, "predict_proba") else model.predict

    def predict(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        with warnings.catch_warnings():
            # A model that was fitted on a data frame receives rows in the order of its columns.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            values = np.asarray(own(np.asarray(rows, dtype=np.float64)))
        is_second = objective[0] == "binary" and values.ndim == 1
        return both_classes(values) if is_second else as_columns(values)

    return TrainedModel(
        model_type=type(model).__name__,
        framework="lightgbm",
        converter="onnxmltools",
        width=booster.num_feature(),
        classes=classes,
        predict=predict,
        to_onnx=lambda: _convert(corrected(text), booster.num_feature()),
        to_double_onnx=lambda: _convert_in_doubles(text, booster.num_feature()),
        thresholds=tuple(_splits(text, of_categories=False)),
        losses=(
            *_losses_of_prediction(model, objective),
            *_losses(text, objective, booster.pandas_categorical),
        ),
        versions={"lightgbm": lightgbm.__version__, "onnxmltools": onnxmltools.__version__},
    )


def corrected(text: str, change: Callable[[_Numbers], _Numbers] | None = None) -> str:
    """Return a model's text with averages as sums, and other thresholds.

    Args:
        text: the model's text.
        change: returns the thresholds to write; by default those in float32.
    """
    text = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(
        r"^(\[?objective(?:=|: ))(?:fair|mape)\b", r"\1regression", text, flags=re.MULTILINE
    )
    text = _replace_thresholds(text, change or _rounded_down)
    if re.search(r"^average_output$", text, re.MULTILINE):
        trees = len(re.findall(r"^Tree=", text, re.MULTILINE))
        iterations = trees // int(_field(text, "num_tree_per_iteration"))
        text = re.sub(r"^average_output\n", "", text, flags=re.MULTILINE)
        text = text.replace("[boosting: rf]", "[boosting: gbdt]")
        text = _replace(text, "leaf_value", lambda value: value / iterations)
    return text


def _convert(text: str, width: int) -> "onnx.ModelProto":
    import lightgbm
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    converted: onnx.ModelProto = convert_lightgbm(
        lightgbm.Booster(model_str=text),
        initial_types=[("features", FloatTensorType([None, width]))],
        zipmap=False,
    )
    categories = {feature for feature, _ in _splits(text, of_categories=True)}
    if categories:
        graph.truncate(converted, sorted(categories), width)
    return converted


def _convert_in_doubles(text: str, width: int) -> "onnx.ModelProto":
    found: list[float] = []

    def numbered(thresholds: _Numbers) -> _Numbers:
        # The converter reads the sign, on which the branch of a missing value depends.
        numbers = np.arange(len(found), len(found) + len(thresholds), dtype=np.float64) + 1
        found.extend(_without_zeros(thresholds).tolist())
        return np.where(thresholds < 0, -numbers, numbers)

    converted = _convert(corrected(text, numbered), width)
    if len(found) > _MAX_NUMBER:
        raise ValueError(f"expected at most {_MAX_NUMBER} splits, received {len(found)}")
    table = np.array(found)
    graph.in_doubles(converted, lambda numbers: table[np.abs(numbers).astype(np.int64) - 1])
    return converted


def _losses_of_prediction(model: Any, objective: list[str]) -> list[Loss]:  # noqa: ANN401
    losses = []
    if objective[0] == "custom":
        losses.append(
            Loss(
                "an objective of your own",
                "the raw scores of the trees are no probabilities or returns",
                "train with an objective of LightGBM, such as 'multiclass', 'binary', 'regression'",
            )
        )
    if objective[0] in ("lambdarank", "rank_xendcg"):
        losses.append(ranking_loss(objective[0]))
    parameters = model.get_params() if hasattr(model, "get_params") else {}
    if parameters.get("pred_early_stop"):
        losses.append(
            Loss(
                "pred_early_stop=True",
                "all trees are evaluated",
                "call model.set_params(pred_early_stop=False) before the conversion",
            )
        )
    return losses


def _splits(text: str, *, of_categories: bool) -> Iterator[tuple[int, float]]:
    """Yield the feature and the threshold of every split, either of categories or of numbers."""
    pattern = r"^split_feature=(.+)\n(?:.*\n)??threshold=(.+)\ndecision_type=(.+)$"
    for lines in re.findall(pattern, text, re.MULTILINE):
        for feature, value, kind in zip(*(line.split() for line in lines), strict=True):
            if bool(int(kind) & _IS_CATEGORY) == of_categories:
                yield int(feature), float(value)


def _losses(text: str, objective: list[str], categories: list[list[Any]] | None) -> list[Loss]:
    losses = []
    if re.search(r"^is_linear=1$", text, re.MULTILINE):
        losses.append(
            Loss(
                "linear_tree=True",
                "the leaves lose their linear parts",
                "train with linear_tree=False",
            )
        )
    if objective[0] == "multiclassova":
        losses.append(
            Loss(
                "objective multiclassova",
                "the scores become a softmax",
                "train with objective='multiclass'",
            )
        )
    for option in objective[1:]:
        name, _, value = option.partition(":")
        if name == "sigmoid" and float(value) != 1:
            losses.append(Loss(f"sigmoid={value}", "the factor is ignored", "train with sigmoid=1"))
        if name == "sqrt":
            losses.append(
                Loss(
                    "reg_sqrt=True",
                    "the root of the target is returned",
                    "train with reg_sqrt=False",
                )
            )
    decisions = re.findall(r"^decision_type=(.*)$", text, re.MULTILINE)
    kinds = {int(kind) & _MISSING_TYPE for line in decisions for kind in line.split()}
    if _ZERO_IS_MISSING in kinds:
        losses.append(
            Loss(
                "zero_as_missing=True",
                "zeros follow the threshold",
                "mark missing values as NaN and train with zero_as_missing=False",
            )
        )
    if any(list(values) != list(range(len(values))) for values in categories or []):
        losses.append(
            Loss(
                "pandas categories",
                "a value is taken for the code of a category",
                "train on the codes: frame[column].cat.codes, with categorical_feature=[column]",
            )
        )
    return losses


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def _replace(text: str, name: str, change: Callable[[_Numbers], _Numbers]) -> str:
    """Apply a function to the numbers of every line `name=NUMBERS`."""

    def changed(line: re.Match[str]) -> str:
        if not line[1]:
            return line[0]
        values = change(np.array(line[1].split(), dtype=np.float64))
        return f"{name}={' '.join(map(repr, values.tolist()))}"

    return re.sub(rf"^{name}=(.*)$", changed, text, flags=re.MULTILINE)


def _replace_thresholds(text: str, change: Callable[[_Numbers], _Numbers]) -> str:
    """Apply a function to the thresholds; those of categories are numbers of bit sets and stay."""

    def changed(lines: re.Match[str]) -> str:
        values = np.array(lines[1].split(), dtype=np.float64)
        is_category = np.array(lines[2].split(), dtype=np.int64) & _IS_CATEGORY != 0
        new = np.where(is_category, values, change(values))
        return f"threshold={' '.join(map(repr, new.tolist()))}\ndecision_type={lines[2]}"

    pattern = r"^threshold=(.+)\ndecision_type=(.+)$"
    return re.sub(pattern, changed, text, flags=re.MULTILINE)


def _without_zeros(values: _Numbers) -> _Numbers:
    """Return the next double below -1e-35 for thresholds from there to 0.

    LightGBM takes a value of at most 1e-35 for 0, which lies above a threshold of -1e-35.
    """
    is_almost_zero = (values < 0) & (values >= -np.float64(_ZERO))
    return np.where(is_almost_zero, np.nextafter(-np.float64(_ZERO), -np.inf), values)


def _rounded_down(values: _Numbers) -> _Numbers:
    """Return the largest float32 values that are not above `values`."""
    values = _without_zeros(values)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
        above = single.astype(np.float64) > values
        return np.where(above, np.nextafter(single, np.float32(-np.inf)), single).astype(np.float64)


def load(path: Any) -> Any:  # noqa: ANN401  a path, and a Booster
    """Return the Booster in a text file."""
    import lightgbm

    try:
        return lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise UnsupportedModelError(str(path), "a LightGBM model as text", str(error)) from error
