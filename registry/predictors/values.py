"""What goes into a model and what comes out, and which of it is a prediction. Pure."""

import math
from collections.abc import Mapping
from itertools import chain
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidMetadataError, UnusableModelError
from registry.outputs import OUTPUT_WIDTHS, check_output_names
from registry.records import ModelMetadata

Windows: TypeAlias = NDArray[np.float32]
"""(batch, timesteps, features), or one window without the batch."""

Outputs: TypeAlias = Mapping[str, NDArray[np.float32]]
"""By meaning, see `registry.outputs`; each (batch, width)."""

Row: TypeAlias = Mapping[str, list[float]]
"""One window's outputs by meaning."""

TOLERANCE = 1e-3
"""How far rounding may take a probability out of [0, 1], or three of them from a sum of 1."""


class Predictor(Protocol):
    """Runs a model on windows (batch, timesteps, features), giving its outputs by meaning."""

    def __call__(self, windows: Windows) -> Outputs:
        """Return the outputs that the version's `output_names` list."""


def rows_of(outputs: Outputs) -> list[Row]:
    """Return a batch of outputs by row; a few rows are sooner looked at as plain numbers."""
    columns = [values.tolist() for values in outputs.values()]
    return [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]


def find_problem(row: Row) -> str | None:
    """Return why a row of outputs is no prediction, None where it is one."""
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


def arrange(path: str, meaning: str, value: object, batch: int) -> NDArray[np.float32]:
    """Return a model's raw output as float32 (batch, width); (batch,) will do for a width of 1.

    Args:
        path: the artifact, for the error.
        meaning: a key of OUTPUT_WIDTHS.
        value: what the model gave.
        batch: the number of windows it was given.

    Raises:
        UnusableModelError: it is no array of numbers of that shape.
    """
    shape = (batch, OUTPUT_WIDTHS[meaning])
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        received = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise UnusableModelError(path, f"expected {meaning} of numbers, received {received}")
    if value.shape != shape and not (shape[1] == 1 and value.shape == (batch,)):
        raise UnusableModelError(
            path, f"expected {meaning} of shape {shape}, received {value.shape}"
        )
    return value.reshape(shape).astype(np.float32, copy=False)


def output_names_of(metadata: ModelMetadata) -> Mapping[str, str]:
    """Return the model's output name by meaning.

    Raises:
        InvalidMetadataError: they are not enough for a prediction.
    """
    try:
        check_output_names(metadata.output_names)
    except ValueError as error:
        where = f"{metadata.name}/v{metadata.version}"
        raise InvalidMetadataError(where, f"output_names: {error}") from error
    return metadata.output_names


def path_of(metadata: ModelMetadata, artifact: str) -> str:
    """Return an artifact's place in the registry, for messages."""
    return f"{metadata.name}/v{metadata.version}/{artifact}"


def _is_probability(value: float) -> bool:
    return -TOLERANCE <= value <= 1 + TOLERANCE
