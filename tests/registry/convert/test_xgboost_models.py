"""Options of XGBoost that its converter loses or rejects are named with a remedy."""

import numpy as np
import pytest

from registry.convert import convert
from registry.convert.errors import LostOptionError, UnsupportedModelError

DIRECTIONS = {0: "SELL", 1: "HOLD", 2: "BUY"}


def logistic(target, scores):
    probability = 1 / (1 + np.exp(-scores))
    return probability - target, probability * (1 - probability)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"missing": -999.0}, r"missing=-999.*; mark missing values as NaN"),
        ({"missing": 0}, "missing=0"),
        ({"objective": logistic}, "an objective of your own"),
        ({"objective": "multi:softprob", "num_class": 2}, "multi:softprob of two classes"),
        ({"objective": "multi:softmax", "num_class": 2}, "multi:softmax of two classes"),
    ],
)
def test_lost_option_of_two_classes(rows, classes, options, named):
    """The option is named, whether the windows show its effect or not."""
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=3, n_jobs=1, **options).fit(rows, classes > 0)
    with pytest.raises(LostOptionError, match=named):
        convert(model, rows, {0: "SELL", 1: "BUY"})


def test_trees_of_several_outputs(rows, classes):
    """Trees whose leaves are vectors are named."""
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=3, n_jobs=1, multi_strategy="multi_output_tree")
    with pytest.raises(LostOptionError, match="multi_strategy"):
        convert(model.fit(rows, classes), rows, DIRECTIONS)


def test_quantiles_that_cannot_be_served(rows):
    """Levels without the median or in another order, and early stopping, are named."""
    from xgboost import XGBRegressor

    usual = {"n_estimators": 20, "n_jobs": 1, "objective": "reg:quantileerror"}
    target = rows[:, 0] * 0.01
    for levels in ([0.5, 0.1, 0.9], [0.1, 0.9]):
        model = XGBRegressor(**usual, quantile_alpha=levels).fit(rows, target)
        with pytest.raises(UnsupportedModelError, match=r"ascending levels with 0\.5"):
            convert(model, rows)
    stopped = XGBRegressor(**usual, quantile_alpha=[0.1, 0.5, 0.9], early_stopping_rounds=2)
    stopped.fit(rows[:200], target[:200], eval_set=[(rows[200:], target[200:])], verbose=False)
    with pytest.raises(LostOptionError, match="several quantiles and early stopping"):
        convert(stopped, rows)


def test_ranking(rows, classes):
    """The score of a ranking model is no return, although it is a number per row."""
    from xgboost import XGBRanker

    model = XGBRanker(n_estimators=3, n_jobs=1).fit(rows, classes, group=[len(rows) // 4] * 4)
    with pytest.raises(LostOptionError, match=r"the ranking objective rank:.*train a classifier"):
        convert(model, rows)
