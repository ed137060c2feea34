"""The inputs and outputs of models, and the checks that make outputs a prediction. Pure."""

import math
from collections.abc import Mapping
from itertools import chain
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidMetadataError, UnusableModelError
from registry.outputs import check_output_names
from registry.records import ModelMetadata

Windows: TypeAlias = NDArray[np.floating]
"""Windows of shape (batch, timesteps, features), or one window without the batch axis, in the
`input_type` of the version."""

Outputs: TypeAlias = Mapping[str, NDArray[np.floating]]
"""Outputs by meaning (see `registry.outputs`), each of shape (batch, width)."""

Row: TypeAlias = Mapping[str, list[float]]
"""The outputs of one window by meaning."""

TOLERANCE = 1e-3
"""The rounding error allowed in a probability's range [0, 1], and in the sum of three of them."""


class Predictor(Protocol):
    """Runs a model on windows of shape (batch, timesteps, features)."""

    def __call__(self, windows: Windows) -> Outputs:
        """Return the outputs listed in the version's `output_names`, by meaning."""


def rows_of(outputs: Outputs) -> list[Row]:
    """Return a batch of outputs by row, as Python numbers: checking a few rows is then faster."""
    columns = [values.tolist() for values in outputs.values()]
    return [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]


def find_problem(row: Row) -> str | None:
    """Return why a row of outputs is not a prediction, None if it is one."""
    if not all(map(math.isfinite, chain.from_iterable(row.values()))):
        return "an output is NaN or infinite"
    probabilities = row.get("direction_probabilities")
    if probabilities is not None and not (
        abs(sum(probabilities) - 1) <= TOLERANCE and all(map(_is_probability, probabilities))
    ):
        return "direction_probabilities are not between 0 and 1 with a sum of 1"
    confidence = row.get("confidence")
    if confidence is not None and not _is_probability(confidence[0]):
        return "confidence is not between 0 and 1"
    return None


def arrange(path: str, meaning: str, value: object, shape: tuple[int, int]) -> NDArray[np.floating]:
    """Return a model's raw output as (batch, width); (batch,) is accepted for width 1.

    Doubles are kept, since two scores may differ only in these digits; any other type becomes
    float32.

    Args:
        path: the artifact, for the error.
        meaning: the meaning of the output, for the error.
        value: the raw output.
        shape: the expected shape, (batch, width).

    Raises:
        UnusableModelError: it is not an array of numbers of that shape.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        received = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise UnusableModelError(path, f"expected {meaning} of numbers, received {received}")
    if value.shape != shape and not (shape[1] == 1 and value.shape == shape[:1]):
        raise UnusableModelError(
            path, f"expected {meaning} of shape {shape}, received {value.shape}"
        )
    arranged = value.reshape(shape)
    return arranged if value.dtype == np.float64 else arranged.astype(np.float32, copy=False)


def output_names_of(metadata: ModelMetadata) -> Mapping[str, str]:
    """Return the model's output name by meaning.

    Raises:
        InvalidMetadataError: the names are not sufficient for a prediction.
    """
    try:
        check_output_names(metadata.output_names)
    except ValueError as error:
        where = f"{metadata.name}/v{metadata.version}"
        raise InvalidMetadataError(where, f"output_names: {error}") from error
    return metadata.output_names


def path_of(metadata: ModelMetadata, artifact: str) -> str:
    """Return an artifact's path in the registry, for messages."""
    return f"{metadata.name}/v{metadata.version}/{artifact}"


def _is_probability(value: float) -> bool:
    return -TOLERANCE <= value <= 1 + TOLERANCE
