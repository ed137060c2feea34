"""Correction of p-values for the number of hypotheses."""

from collections.abc import Mapping


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values adjusted for their number (Holm 1979), by name.

    Rejecting every hypothesis whose adjusted p-value is at most alpha rejects any true hypothesis
    with probability alpha at most. This also holds for always-valid p-values.

    >>> holm({"latency": 0.01, "errors": 0.04})
    {'latency': 0.02, 'errors': 0.04}
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * value))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
