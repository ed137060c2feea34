"""What the outputs of a model mean. No IO here."""

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

`direction_logits` are one unnormalised score a class, `direction_probabilities` sum to 1;
`confidence` is the probability, 0 to 1, that the direction is right; `expected_return` is the
market's return over the model's horizon as a fraction.
"""

DIRECTION_OUTPUTS = ("direction_logits", "direction_probabilities")
"""A model gives one of these, and what else of OUTPUT_WIDTHS it knows."""


def check_output_names(output_names: Mapping[str, str]) -> None:
    """Raise ValueError unless `output_names` (by meaning) are enough for a prediction, and no more.

    That is: one of DIRECTION_OUTPUTS, perhaps `confidence` and `expected_return`, and a name of
    its own for each.
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
        raise ValueError(f"expected an output of its own for each meaning, received {names}")
