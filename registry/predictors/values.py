"""What goes into a model and what comes out, and which of it is a prediction. Pure."""

from collections.abc import Mapping
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

TOLERANCE = 1e-3
"""How far rounding may take a probability out of [0, 1], or three of them from a sum of 1."""


class Predictor(Protocol):
    """Runs a model on windows (batch, timesteps, features), giving its outputs by meaning."""

    def __call__(self, windows: Windows) -> Outputs:
        """Return the outputs that the version's `output_names` list."""


def find_problems(outputs: Outputs) -> list[str | None]:
    """Return by row why it is no prediction, None where it is one."""
    finite = np.isfinite(np.concatenate(list(outputs.values()), axis=1)).all(axis=1)
    checks = [(finite, "an output is NaN or infinite")]
    if "direction_probabilities" in outputs:
        probabilities = outputs["direction_probabilities"]
        with np.errstate(invalid="ignore"):
            sums_to_one = np.abs(probabilities.sum(axis=1) - 1) <= TOLERANCE
        checks.append(
            (
                sums_to_one & _is_probability(probabilities).all(axis=1),
                "direction_probabilities are not between 0 and 1 with a sum of 1",
            )
        )
    if "confidence" in outputs:
        confidence = outputs["confidence"][:, 0]
        checks.append((_is_probability(confidence), "confidence is not between 0 and 1"))
    problems: list[str | None] = [None] * len(finite)
    # The first check that a row fails has the last word.
    for passed, problem in reversed(checks):
        if not passed.all():
            for row in np.flatnonzero(~passed).tolist():
                problems[row] = problem
    return problems


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


def _is_probability(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.abs(values - 0.5) <= 0.5 + TOLERANCE
    return inside
