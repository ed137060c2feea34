"""Options of CatBoost that its exporter loses or rejects are named with a remedy."""

import pytest

from registry.convert import convert
from registry.convert.errors import LostOptionError

USUAL = {"iterations": 4, "thread_count": 1, "verbose": 0, "allow_writing_files": False}


def test_probability_threshold(rows, classes):
    """A threshold decides the direction in CatBoost, and would not in a server."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(**USUAL).fit(rows, (classes > 0).astype(int))
    model.set_probability_threshold(0.2)
    with pytest.raises(LostOptionError, match=r"a probability threshold of 0\.2"):
        convert(model, rows, {0: "SELL", 1: "BUY"})
    model.set_probability_threshold(0.5)
    assert convert(model, rows, {0: "SELL", 1: "BUY"}).other_decisions == 0


@pytest.mark.parametrize("policy", ["Depthwise", "Lossguide"])
def test_trees_that_are_not_symmetric(rows, classes, policy):
    """The policy is named."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(**USUAL, grow_policy=policy).fit(rows, classes)
    with pytest.raises(LostOptionError, match=f"grow_policy={policy}"):
        convert(model, rows, {0: "SELL", 1: "HOLD", 2: "BUY"})


@pytest.mark.parametrize("kind", [float, bool])
def test_labels_that_are_neither_integers_nor_texts(rows, classes, kind):
    """The remedy is a conversion of the labels."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(**USUAL).fit(rows, (classes > 0).astype(kind))
    directions = dict(zip(model.classes_.tolist(), ("SELL", "BUY"), strict=True))
    with pytest.raises(LostOptionError, match=r"train on target\.astype"):
        convert(model, rows, directions)


def test_columns_of_categories(rows, classes):
    """Columns that are no numbers are named before the model runs on an array."""
    from catboost import CatBoostClassifier

    values = [[str(row[0] > 0), *row[1:]] for row in rows.tolist()]
    model = CatBoostClassifier(**USUAL, cat_features=[0]).fit(values, classes)
    with pytest.raises(LostOptionError, match="in the columns 0"):
        convert(model, rows, {0: "SELL", 1: "HOLD", 2: "BUY"})
