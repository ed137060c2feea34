"""The classes of a model and the directions that they stand for."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.convert.errors import UnsupportedModelError
from registry.records import DIRECTIONS


def label_map_of(
    classes: tuple[object, ...], directions: Mapping[Any, str] | None = None
) -> dict[int, str]:
    """Return the direction of each class index.

    >>> label_map_of(("BUY", "HOLD", "SELL"))
    {0: 'BUY', 1: 'HOLD', 2: 'SELL'}
    >>> label_map_of((-1, 0, 1), {-1: "SELL", 0: "HOLD", 1: "BUY"})
    {0: 'SELL', 1: 'HOLD', 2: 'BUY'}

    Raises:
        UnsupportedModelError: a class has no direction, or its name contradicts the given one.
    """
    names = [_name(value) for value in classes]
    named = {name: name.upper() for name in names if name.upper() in DIRECTIONS}
    given = {_name(value): direction for value, direction in (directions or {}).items()}
    for name, direction in named.items():
        if given.get(name, direction) != direction:
            raise UnsupportedModelError(
                "the classes", f"{name} as {direction}", f"{given[name]} for it"
            )
    labels = [{**named, **given}.get(name) for name in names]
    is_complete = None not in labels and len(set(labels)) == len(labels) in (2, 3)
    if not is_complete or not set(labels) <= set(DIRECTIONS):
        known = ", ".join(map(repr, classes))
        raise UnsupportedModelError(
            "the classes",
            f"two or three classes with different ones of {', '.join(DIRECTIONS)}; pass directions "
            f"(on the command line --direction CLASS=DIRECTION)",
            f"the classes {known} with the directions {given or 'none'}",
        )
    return dict(enumerate(map(str, labels)))


def other_decisions(
    model: Any,  # noqa: ANN401  a model of any supported library
    classes: tuple[object, ...],
    rows: NDArray[np.floating],
    probabilities: NDArray[np.float64],
) -> int:
    """Return the number of rows for which `predict` chooses another class than the most probable.

    Support vectors, and models of one classifier per class, do so by themselves.
    """
    if not hasattr(model, "classes_"):
        return 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        chosen = np.asarray(model.predict(rows)).reshape(-1).tolist()
    likeliest = [_name(classes[index]) for index in probabilities.argmax(axis=1).tolist()]
    return sum(_name(value) != name for value, name in zip(chosen, likeliest, strict=True))


def _name(value: object) -> str:
    """Return the name of a class, the same for an integer in any form.

    >>> _name(-1.0), _name("-1"), _name(True), _name("up")
    ('-1', '-1', 'True', 'up')
    """
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text
