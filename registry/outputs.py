"""The meanings that a model's outputs can have. Performs no IO."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

QUANTILES = "return_quantiles"
"""The output that holds all quantiles of the return; the version declares their levels."""

MEANINGS = (
    "direction_logits",
    "direction_probabilities",
    "confidence",
    "expected_return",
    QUANTILES,
)
"""The meanings; an output is (batch, classes), (batch, levels) or (batch, 1).

`direction_logits` holds one unnormalised score per class; `direction_probabilities` sums to 1;
`confidence` is the probability, from 0 to 1, that the direction is right; `expected_return` is the
market's return over the model's horizon, as a fraction; `return_quantiles` holds that return's
quantiles, one per level.

If each quantile is an output of its own, their meanings are `return_quantile_LEVEL`, for example
`return_quantile_0.1`, beside `expected_return`, the median.
"""

MEDIAN = 0.5
"""The level of the quantile that is the expected return."""

_QUANTILE = re.compile(r"return_quantile_(0\.[0-9]{1,6})", re.ASCII)

DIRECTION_OUTPUTS = ("direction_logits", "direction_probabilities")
"""The outputs of which a classifier has exactly one, with one number per class and window. The
others of MEANINGS are optional; a regressor has no direction output and must have an expected
return or quantiles."""


def output_width(meaning: str, classes: int, levels: int = 0) -> int:
    """Return the number of numbers per window of an output.

    Args:
        meaning: the output's meaning.
        classes: the number of the model's classes.
        levels: the number of levels in QUANTILES.

    >>> output_width("direction_logits", classes=2), output_width("confidence", classes=2)
    (2, 1)
    """
    if meaning == QUANTILES:
        return levels
    return classes if meaning in DIRECTION_OUTPUTS else 1


def quantile_level(meaning: str) -> float | None:
    """Return the level of the quantile in a separate output; None for any other meaning.

    >>> quantile_level("return_quantile_0.1"), quantile_level("expected_return")
    (0.1, None)
    """
    found = _QUANTILE.fullmatch(meaning)
    return float(found[1]) if found else None


def level_name(level: float) -> str:
    """Return the name of a quantile in responses: its level as a decimal number.

    >>> level_name(0.5), level_name(0.00001)
    ('0.5', '0.00001')
    """
    return format(Decimal(repr(level)), "f")


def check_levels(levels: object) -> tuple[float, ...]:
    """Return the levels of QUANTILES if they are valid.

    >>> check_levels([0.1, 0.5, 0.9])
    (0.1, 0.5, 0.9)
    >>> check_levels([0.1, 0.9])
    Traceback (most recent call last):
    ValueError: expected quantile_levels, ascending numbers between 0 and 1 with 0.5, ...

    Raises:
        ValueError: they are not ascending numbers between 0 and 1, or lack the median.
    """
    is_list = isinstance(levels, Sequence) and not isinstance(levels, str)
    values = list(levels) if is_list else []  # type: ignore[call-overload]
    are_levels = all(type(value) is float and 0 < value < 1 for value in values)
    if not are_levels or sorted(set(values)) != values or MEDIAN not in values:
        raise ValueError(
            f"expected quantile_levels, ascending numbers between 0 and 1 with {MEDIAN}, whose "
            f"quantile is the expected return, received {levels!r}"
        )
    return tuple(values)


def check_output_names(output_names: Mapping[str, str]) -> None:
    """Check that `output_names` (output name by meaning) is sufficient for a prediction.

    It must contain exactly one of DIRECTION_OUTPUTS, or none of them but `expected_return` or
    QUANTILES, may contain the others, and must give each meaning a separate output. The median is
    either part of QUANTILES or the `expected_return`, never both.

    >>> check_output_names({"direction_logits": "logits", "confidence": "certainty"})
    >>> check_output_names({"confidence": "certainty"})
    Traceback (most recent call last):
    ValueError: expected exactly one of direction_logits and direction_probabilities, or ...

    Raises:
        ValueError: the names are not sufficient, or contain an unknown meaning.
    """
    levels = {meaning: quantile_level(meaning) for meaning in output_names}
    unknown = [name for name, level in levels.items() if name not in MEANINGS and not level]
    if unknown:
        raise ValueError(
            f"expected the meanings {', '.join(MEANINGS)} or return_quantile_LEVEL, such as "
            f"return_quantile_0.1, received {', '.join(unknown)}"
        )
    directions = [meaning for meaning in DIRECTION_OUTPUTS if meaning in output_names]
    has_return = "expected_return" in output_names or QUANTILES in output_names
    if len(directions) != 1 and (directions or not has_return):
        raise ValueError(
            f"expected exactly one of {' and '.join(DIRECTION_OUTPUTS)}, or expected_return or "
            f"{QUANTILES} of a regressor, received {' and '.join(directions) or 'neither'}"
        )
    _check_quantiles(output_names, [level for level in levels.values() if level])
    names = list(output_names.values())
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"expected a separate output for each meaning, received {names}")


def _check_quantiles(output_names: Mapping[str, str], levels: list[float]) -> None:
    received = ", ".join(output_names)
    if QUANTILES in output_names and ("expected_return" in output_names or levels):
        raise ValueError(
            f"expected {QUANTILES} without expected_return and return_quantile_LEVEL, since it "
            f"holds the median and all levels, received {received}"
        )
    if levels and "expected_return" not in output_names:
        raise ValueError(f"expected the median as expected_return, received {received}")
    if MEDIAN in levels or len(set(levels)) != len(levels):
        raise ValueError(
            f"expected a different level per return_quantile_LEVEL, and the median as "
            f"expected_return, received {received}"
        )
