"""A fitted model of any library, as functions of flat rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.convert.errors import LostOptionError
from registry.outputs import QUANTILES

if TYPE_CHECKING:
    import onnx


Predict: TypeAlias = Callable[[NDArray[np.floating]], NDArray[np.float64]]


class Loss(NamedTuple):
    """An option of a model that its converter is known to lose without an error."""

    option: str
    effect: str
    """What the converted model does instead."""
    remedy: str


def ranking_loss(objective: str) -> Loss:
    """Return the loss of a model that orders rows: its scores have no unit."""
    return Loss(
        f"the ranking objective {objective}",
        "a score, which is neither a probability nor a return, would be taken for one",
        "train a classifier of directions or a regressor of returns",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A fitted model: how to run it in its own library, and how to convert it."""

    model_type: str
    """The name of its class."""
    framework: str
    """The library that trained it, for example `lightgbm`."""
    converter: str
    """The library that converts it."""
    width: int
    """The number of values in a row."""
    classes: tuple[object, ...] | None
    """The classes in the order of the probabilities; None for a regressor."""
    predict: Predict
    """Returns probabilities of shape (rows, classes), or of a regressor (rows, 1) or, with
    quantiles, (rows, levels)."""
    to_onnx: "Callable[[], onnx.ModelProto]"
    """Converts it to a graph of floats."""
    to_double_onnx: "Callable[[], onnx.ModelProto] | None" = None
    """Converts it to a graph of doubles; None if the library itself rounds its input to float32."""
    thresholds: tuple[tuple[int, float], ...] = ()
    """The feature and the threshold of every split that the library itself compares in double."""
    quantile_levels: tuple[float, ...] = ()
    """The levels of a regressor's outputs if these are quantiles."""
    losses: tuple[Loss, ...]
    """The options that the converter is known to lose."""
    missing_losses: tuple[Loss, ...] = ()
    """Those that it loses only for windows with NaN."""
    versions: Mapping[str, str]
    """The versions of the libraries that trained and convert the model."""

    @property
    def meaning(self) -> str:
        """The meaning of its output; see `registry.outputs`."""
        if self.classes is not None:
            return "direction_probabilities"
        return QUANTILES if self.quantile_levels else "expected_return"

    def check_losses(self, has_missing: bool) -> None:
        """Raise LostOptionError for the first option that the converter is known to lose.

        Args:
            has_missing: whether windows contain NaN.
        """
        for loss in (*self.losses, *(self.missing_losses if has_missing else ())):
            raise LostOptionError(self.model_type, *loss)


def predictor_in_float32(model: Any, is_classifier: bool) -> Predict:  # noqa: ANN401
    """Return the `predict` of a TrainedModel for a model with scikit-learn's interface."""

    def predict(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        values = np.asarray(rows, dtype=np.float32)
        return as_columns(model.predict_proba(values) if is_classifier else model.predict(values))

    return predict


def as_columns(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return predictions as (rows, width)."""
    wide = np.asarray(values, dtype=np.float64)
    return wide.reshape(len(wide), -1)


def both_classes(second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities of two classes, given that of the second one."""
    wide = np.asarray(second, dtype=np.float64).reshape(-1)
    return np.column_stack([1 - wide, wide])
