"""The meanings that a model's outputs can have. Performs no IO."""

from collections.abc import Mapping

MEANINGS = ("direction_logits", "direction_probabilities", "confidence", "expected_return")
"""The meanings; an output is (batch, classes) or (batch, 1).

`direction_logits` holds one unnormalised score per class; `direction_probabilities` sums to 1;
`confidence` is the probability, from 0 to 1, that the direction is right; `expected_return` is the
market's return over the model's horizon, as a fraction.
"""

DIRECTION_OUTPUTS = ("direction_logits", "direction_probabilities")
"""The outputs of which a classifier has exactly one, with one number per class and window. The
others of MEANINGS are optional and have one number per window; a regressor has no direction output
and must have an expected return."""


def output_width(meaning: str, classes: int) -> int:
    """Return the number of numbers per window of an output.

    >>> output_width("direction_logits", classes=2), output_width("confidence", classes=2)
    (2, 1)
    """
    return classes if meaning in DIRECTION_OUTPUTS else 1


def check_output_names(output_names: Mapping[str, str]) -> None:
    """Check that `output_names` (output name by meaning) is sufficient for a prediction.

    It must contain exactly one of DIRECTION_OUTPUTS, or none of them but `expected_return`, may
    contain the others, and must give each meaning a separate output.

    >>> check_output_names({"direction_logits": "logits", "confidence": "certainty"})
    >>> check_output_names({"confidence": "certainty"})
    Traceback (most recent call last):
    ValueError: expected exactly one of direction_logits and direction_probabilities, or ...

    Raises:
        ValueError: the names are not sufficient, or contain an unknown meaning.
    """
    unknown = [meaning for meaning in output_names if meaning not in MEANINGS]
    if unknown:
        raise ValueError(
            f"expected the meanings {', '.join(MEANINGS)}, received {', '.join(unknown)}"
        )
    directions = [meaning for meaning in DIRECTION_OUTPUTS if meaning in output_names]
    if len(directions) != 1 and (directions or "expected_return" not in output_names):
        raise ValueError(
            f"expected exactly one of {' and '.join(DIRECTION_OUTPUTS)}, or expected_return of a "
            f"regressor, received {' and '.join(directions) or 'neither'}"
        )
    names = list(output_names.values())
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"expected a separate output for each meaning, received {names}")
