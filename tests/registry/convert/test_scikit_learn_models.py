"""Compound models of scikit-learn are converted, or rejected by the part that is lost."""

import numpy as np
import pytest

from registry.convert import convert
from registry.convert.errors import LostOptionError, UnsupportedModelError

DIRECTIONS = {0: "SELL", 1: "HOLD", 2: "BUY"}


def test_imputer_before_a_forest(rows, classes):
    """NaN that an imputer replaces never reaches the forest, and is kept."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    holes = np.where(np.random.default_rng(1).random(rows.shape) < 0.1, np.float32(np.nan), rows)
    forest = RandomForestClassifier(5, random_state=0)
    conversion = convert(
        make_pipeline(SimpleImputer(), forest).fit(holes, classes), holes, DIRECTIONS
    )
    assert conversion.keeps_missing
    assert np.isnan(conversion.windows).any()


def test_decision_threshold(rows, classes):
    """A threshold decides the class in scikit-learn, and would not in a server."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

    for model in (
        FixedThresholdClassifier(LogisticRegression(), threshold=0.2),
        TunedThresholdClassifierCV(LogisticRegression(), cv=2),
    ):
        with pytest.raises(LostOptionError, match="a decision threshold"):
            convert(model.fit(rows, classes > 0), rows, {False: "SELL", True: "BUY"})


def test_calibrated_search_over_a_pipeline(rows, classes):
    """A pipeline inside another model is found."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1]}, cv=2)
    with pytest.raises(LostOptionError, match="a calibrated pipeline"):
        convert(CalibratedClassifierCV(search, cv=2).fit(rows, classes), rows, DIRECTIONS)


def test_model_of_another_library_inside(rows, classes):
    """The part is named."""
    from lightgbm import LGBMClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    part = LGBMClassifier(n_estimators=2, num_threads=1, verbose=-1)
    model = make_pipeline(StandardScaler(), part).fit(rows, classes)
    with pytest.raises(LostOptionError, match=r"a LGBMClassifier inside.*; convert the LGBM"):
        convert(model, rows, DIRECTIONS)


def test_columns_by_name(rows, classes):
    """A model that needs the names of columns is rejected with the remedy."""
    import pandas
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pandas.DataFrame(rows, columns=list("abcdef"))
    scaler = ColumnTransformer([("scaler", StandardScaler(), ["a", "b"])], remainder="passthrough")
    model = make_pipeline(scaler, LogisticRegression()).fit(frame, classes)
    with pytest.raises(UnsupportedModelError, match="select columns by their number"):
        convert(model, rows, DIRECTIONS)


def test_several_targets(rows, classes):
    """A classifier of several targets is rejected with their number."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier

    model = MultiOutputClassifier(LogisticRegression()).fit(rows, np.stack([classes, classes], 1))
    with pytest.raises(UnsupportedModelError, match="received one of 2 outputs"):
        convert(model, rows, DIRECTIONS)
