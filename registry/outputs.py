"""The meanings that a model's outputs can have. Performs no IO."""

from collections.abc import Mapping
from types import MappingProxyType

OUTPUT_WIDTHS: Mapping[str, int] = MappingProxyType(
    {
        "direction_logits": 3,
        "direction_probabilities": 3,
        "confidence": 1,
        "expected_return": 1,
    }
)
"""Numbers per window by the output's meaning; an output is (batch, width).

`direction_logits` holds one unnormalised score per class; `direction_probabilities` sums to 1;
`confidence` is the probability, from 0 to 1, that the direction is right; `expected_return` is the
market's return over the model's horizon, as a fraction.
"""

DIRECTION_OUTPUTS = ("direction_logits", "direction_probabilities")
"""The outputs of which a model has exactly one; the rest of OUTPUT_WIDTHS is optional."""


def check_output_names(output_names: Mapping[str, str]) -> None:
    """Check that `output_names` (output name by meaning) is sufficient for a prediction.

    It must contain exactly one of DIRECTION_OUTPUTS, may contain `confidence` and
    `expected_return`, and must give each meaning a separate output.

    >>> check_output_names({"direction_logits": "logits", "confidence": "certainty"})
    >>> check_output_names({"confidence": "certainty"})
    Traceback (most recent call last):
    ValueError: expected exactly one of direction_logits and direction_probabilities, ...

    Raises:
        ValueError: the names are not sufficient, or contain an unknown meaning.
    """
    if not output_names.keys() <= OUTPUT_WIDTHS.keys():
        unknown = [meaning for meaning in output_names if meaning not in OUTPUT_WIDTHS]
        raise ValueError(
            f"expected the meanings {', '.join(OUTPUT_WIDTHS)}, received {', '.join(unknown)}"
        )
    directions = [meaning for meaning in DIRECTION_OUTPUTS if meaning in output_names]
    if len(directions) != 1:
        raise ValueError(
            f"expected exactly one of {' and '.join(DIRECTION_OUTPUTS)}, "
            f"received {' and '.join(directions) or 'neither'}"
        )
    names = list(output_names.values())
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"expected a separate output for each meaning, received {names}")
