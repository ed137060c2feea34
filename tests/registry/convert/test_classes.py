"""The classes of a model become directions."""

import numpy as np
import pytest

from registry.convert.classes import label_map_of, other_decisions
from registry.convert.errors import UnsupportedModelError


@pytest.mark.parametrize(
    ("values", "directions"),
    [((0, 1, 2), None), ((0,), {0: "SELL"}), ((0, 1, 2), {0: "BUY", 1: "BUY"})],
)
def test_classes_without_directions(values, directions):
    """Every direction needs exactly one class."""
    with pytest.raises(
        UnsupportedModelError, match="two or three classes with different ones of HOLD"
    ):
        label_map_of(values, directions)


def test_two_classes():
    """Two classes need two different directions."""
    assert label_map_of((0, 1), {0: "SELL", 1: "BUY"}) == {0: "SELL", 1: "BUY"}


@pytest.mark.parametrize("classes", [(-1, 1), (-1.0, 1.0), ("-1", "1"), ("-1.0", "1.0")])
@pytest.mark.parametrize("keys", [(-1, 1), (-1.0, 1.0), ("-1", "1"), ("-1.0", "1.0")])
def test_integers_in_any_form(classes, keys):
    """A class and its direction may be written as an integer, a float or a text."""
    given = dict(zip(keys, ("SELL", "BUY"), strict=True))
    assert label_map_of(classes, given) == {0: "SELL", 1: "BUY"}


def test_other_decisions(rows, classes):
    """The rows for which `predict` chooses another class than the most probable are counted."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(rows, classes)
    probabilities = model.predict_proba(rows)
    known = tuple(model.classes_.tolist())
    assert other_decisions(model, known, rows, probabilities) == 0
    assert other_decisions(model, known, rows, probabilities[:, ::-1]) > 0
    assert other_decisions(object(), known, rows, np.zeros((1, 3))) == 0
