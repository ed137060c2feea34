"""The text of a LightGBM model is corrected before it is converted."""

import numpy as np
import pytest

from registry.convert import convert
from registry.convert.errors import LostOptionError, OutputsDifferError
from registry.convert.lightgbm_models import corrected

DIRECTIONS = {0: "SELL", 1: "HOLD", 2: "BUY"}

TEXT = """tree
num_tree_per_iteration=1
average_output
tree_sizes=12 34
Tree=0
threshold=0.1 -1.0000000180025095e-35 1.5
decision_type=2 2 2
leaf_value=2 4
Tree=1
threshold=
leaf_value=6

end of trees
[boosting: rf]
"""


def test_thresholds_are_rounded_down():
    """A threshold becomes the largest float32 value that is not above it."""
    (line,) = (line for line in corrected(TEXT).splitlines() if line.startswith("threshold=0"))
    first, almost_zero, last = map(float, line.removeprefix("threshold=").split())
    assert first <= 0.1 < float(np.nextafter(np.float32(first), np.float32(1)))
    assert almost_zero < -1.0000000180025095e-35
    assert last == 1.5


def test_average_becomes_sum():
    """The leaves of a forest are divided by the number of iterations."""
    text = corrected(TEXT)
    assert "leaf_value=1.0 2.0" in text
    assert "leaf_value=3.0" in text
    assert "average_output" not in text
    assert "tree_sizes" not in text
    assert "threshold=\n" in text


def trained(rows, target, kind="LGBMClassifier", categories="auto", **options):
    import lightgbm

    usual = {"n_estimators": 8, "min_child_samples": 5, "num_threads": 1, "verbose": -1}
    model = getattr(lightgbm, kind)(**usual, **options)
    return model.fit(rows, target, categorical_feature=categories)


def returned(conversion, rows):
    """Return the outputs of a converted model for rows in the type of its input."""
    import onnxruntime

    values = rows.astype(conversion.windows.dtype)
    return onnxruntime.InferenceSession(conversion.onnx).run(None, {"features": values})[0]


@pytest.mark.parametrize(("level", "step"), [(4000, 0.01), (60_000, 0.01), (150, 0.001)])
def test_prices_that_the_training_has_not(classes, level, step):
    """Prices of the same grid take the branch of LightGBM, also those between the training's."""
    rng = np.random.default_rng(3)
    prices = np.round(level + 500 * step * rng.standard_normal((3000, 6)), 3)
    prices = np.round(np.round(prices / step) * step, 3)
    known, unseen = prices[:300], prices[300:]
    model = trained(known, classes)
    conversion = convert(model, known, DIRECTIONS)
    assert conversion.windows.dtype == np.float64
    np.testing.assert_allclose(
        returned(conversion, unseen), model.predict_proba(unseen), rtol=0, atol=1e-5
    )


def test_integers_beyond_float32(classes):
    """Integers such as volumes are not rounded before the comparison."""
    volumes = np.random.default_rng(3).integers(2**31, 2**33, (300, 6))
    target = np.digitize(volumes[:, 0] / 2**31, [2, 3])
    model = trained(volumes, target)
    conversion = convert(model, volumes, DIRECTIONS)
    assert conversion.windows.dtype == np.float64
    np.testing.assert_allclose(
        returned(conversion, volumes), model.predict_proba(volumes), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_categories(rows, classes, dtype):
    """Known and unknown categories, fractions and negative numbers have LightGBM's outputs."""
    rng = np.random.default_rng(3)
    values = rows.astype(dtype)
    values[:, 1] = rng.integers(0, 12, len(rows))
    if dtype is np.float64:
        values[:, 0] = 65_432 + values[:, 0] * 1e-4
    model = trained(values, (classes + values[:, 1].astype(int)) % 3, categories=[1])
    conversion = convert(model, values, DIRECTIONS)
    assert conversion.windows.dtype == dtype
    other = values.copy()
    other[:, 1] = rng.integers(-60, 200, len(rows)) / 8
    np.testing.assert_allclose(
        returned(conversion, other), model.predict_proba(other), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("objective", ["fair", "mape"])
@pytest.mark.parametrize("boosting", ["gbdt", "rf"])
def test_objectives_that_the_converter_does_not_know(rows, objective, boosting):
    """A regression that returns the sum of its trees is converted as such."""
    options = {"objective": objective, "boosting_type": boosting, "bagging_freq": 1}
    target = 1 + rows[:, 0] ** 2
    model = trained(rows, target, "LGBMRegressor", bagging_fraction=0.7, **options)
    np.testing.assert_allclose(
        returned(convert(model, rows), rows)[:, 0], model.predict(rows), rtol=1e-5
    )


def squared_hinge(target, scores):
    signed = 2 * target - 1
    return -2 * signed * np.maximum(0, 1 - signed * scores), np.full(len(target), 2.0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"objective": squared_hinge}, "an objective of your own"),
        ({"pred_early_stop": True}, r"pred_early_stop.*set_params\(pred_early_stop=False\)"),
    ],
)
def test_lost_option_of_the_wrapper(rows, classes, options, named):
    """Options that the text of the model does not hold are named."""
    model = trained(rows, (classes > 0).astype(int), **options)
    with pytest.raises(LostOptionError, match=named):
        convert(model, rows, {0: "SELL", 1: "BUY"})


def test_class_with_other_probabilities(rows, classes):
    """The outputs of the model itself count, not those of the Booster in it."""
    from lightgbm import LGBMClassifier

    class Sharpened(LGBMClassifier):
        def predict_proba(self, X, **options):  # noqa: N803  LightGBM's name
            squares = super().predict_proba(X, **options) ** 2
            return squares / squares.sum(axis=1, keepdims=True)

    model = Sharpened(n_estimators=4, num_threads=1, verbose=-1).fit(rows, classes)
    with pytest.raises(OutputsDifferError):
        convert(model, rows, DIRECTIONS)


def test_ranking(rows, classes):
    """The score of a ranking model is no return, although it is a number per row."""
    from lightgbm import LGBMRanker

    model = LGBMRanker(n_estimators=3, num_threads=1, verbose=-1)
    model.fit(rows, classes, group=[len(rows) // 4] * 4)
    with pytest.raises(LostOptionError, match=r"the ranking objective lambdarank.*train a class"):
        convert(model, rows)
