"""Models of each library are converted without a difference, or rejected by the lost option."""

import warnings

import numpy as np
import pytest

from registry import ModelRegistry
from registry.convert import ConversionError, convert
from registry.convert.errors import (
    ConverterFailedError,
    LostOptionError,
    OutputsDifferError,
    UnsupportedModelError,
)
from registry.convert.verification import MISSING, THRESHOLDS, WINDOWS, ZEROS
from registry.predictors import load_predictor, try_artifact
from registry.reference_outputs import recorded_meanings

DIRECTIONS = {0: "SELL", 1: "HOLD", 2: "BUY"}
FOREST = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}


# The libraries are imported when used, since importing all of them takes seconds.


def lightgbm(rows, target, kind="LGBMClassifier", **options):
    import lightgbm as library

    usual = {"n_estimators": 8, "min_child_samples": 5, "num_threads": 1, "verbose": -1}
    return getattr(library, kind)(**usual, **options).fit(rows, target)


def xgboost(rows, target, kind="XGBClassifier", **options):
    import xgboost as library

    return getattr(library, kind)(**{"n_estimators": 8, "n_jobs": 1, **options}).fit(rows, target)


def catboost(rows, target, kind="CatBoostClassifier", **options):
    import catboost as library

    usual = {"iterations": 8, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
    return getattr(library, kind)(**usual, **options).fit(rows, target)


def scikit_learn(rows, target, kind="LogisticRegression", **options):
    from sklearn import ensemble, linear_model

    library = linear_model if hasattr(linear_model, kind) else ensemble
    return getattr(library, kind)(**options).fit(rows, target)


EQUAL = {
    "LightGBM": (lightgbm, {}),
    "LightGBM dart": (lightgbm, {"boosting_type": "dart"}),
    "LightGBM forest": (lightgbm, FOREST),
    "XGBoost": (xgboost, {}),
    "XGBoost softmax": (xgboost, {"objective": "multi:softmax"}),
    "XGBoost parallel trees": (xgboost, {"num_parallel_tree": 3}),
    "XGBoost forest": (xgboost, {"kind": "XGBRFClassifier"}),
    "CatBoost": (catboost, {}),
    "scikit-learn": (scikit_learn, {}),
    "scikit-learn forest": (scikit_learn, {"kind": "RandomForestClassifier", "n_estimators": 8}),
    "scikit-learn boosting": (
        scikit_learn,
        {"kind": "GradientBoostingClassifier", "n_estimators": 5},
    ),
}

LOST = {
    "LightGBM one-vs-all": (lightgbm, {"objective": "multiclassova"}, "objective multiclassova"),
    "LightGBM zeros": (lightgbm, {"zero_as_missing": True}, "zero_as_missing=True"),
    "LightGBM linear trees": (lightgbm, {"linear_tree": True}, "linear_tree=True"),
    "XGBoost dart": (xgboost, {"booster": "dart"}, "booster='dart'"),
    "XGBoost linear": (xgboost, {"booster": "gblinear"}, "booster='gblinear'"),
    "CatBoost one-vs-all": (
        catboost,
        {"loss_function": "MultiClassOneVsAll"},
        "MultiClassOneVsAll",
    ),
}

LOST_REGRESSORS = {
    "LightGBM root": (lightgbm, {"kind": "LGBMRegressor", "reg_sqrt": True}, "reg_sqrt=True"),
    "XGBoost logistic": (
        xgboost,
        {"kind": "XGBRegressor", "objective": "reg:logistic"},
        "reg:logistic",
    ),
    "CatBoost Poisson": (
        catboost,
        {"kind": "CatBoostRegressor", "loss_function": "Poisson"},
        "Poisson",
    ),
}

EQUAL_REGRESSORS = {
    "LightGBM": (lightgbm, {"kind": "LGBMRegressor"}),
    "LightGBM forest": (lightgbm, {"kind": "LGBMRegressor", **FOREST}),
    "XGBoost": (xgboost, {"kind": "XGBRegressor"}),
    "XGBoost Poisson": (xgboost, {"kind": "XGBRegressor", "objective": "count:poisson"}),
    "CatBoost": (catboost, {"kind": "CatBoostRegressor"}),
    "scikit-learn": (scikit_learn, {"kind": "Ridge"}),
}


@pytest.fixture(autouse=True)
def _libraries_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(("train", "options"), EQUAL.values(), ids=EQUAL)
async def test_version_returns_what_its_library_does(rows, classes, train, options, tmp_path):
    """A converted model is registered with its outputs, and serves those of its library."""
    model = train(rows, classes, **options)
    windows = rows.reshape(-1, 3, 2)
    conversion = convert(model, windows, DIRECTIONS)
    assert all(check.is_passed for check in conversion.checks if check.rows != MISSING)
    assert {WINDOWS, ZEROS} <= {check.rows for check in conversion.checks}
    conversion.write(tmp_path / "converted")
    registry = ModelRegistry(tmp_path / "models")
    files = {"windows.npz": tmp_path / "converted" / "windows.npz"}
    info = await registry.register_model(
        "m",
        "1.0.0",
        tmp_path / "converted" / "model.onnx",
        artifacts=files,
        **conversion.registration,
    )
    assert info.metadata.reference_outputs == ("direction_probabilities",)
    assert info.metadata.label_map == DIRECTIONS
    served = load_predictor(conversion.onnx, info.metadata, num_threads=1)(windows)
    np.testing.assert_allclose(
        served["direction_probabilities"], model.predict_proba(rows), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("train", "options"), EQUAL_REGRESSORS.values(), ids=EQUAL_REGRESSORS)
def test_regressors(rows, train, options, tmp_path):
    """A regressor's output is the expected return."""
    target = np.exp(rows[:, 0]) + rows[:, 1] ** 2
    conversion = convert(train(rows, target, **options), rows)
    conversion.write(tmp_path)
    assert recorded_meanings(tmp_path / "windows.npz") == ("expected_return",)
    assert conversion.windows.shape == (300, 1, 6)
    assert conversion.label_map is None


@pytest.mark.parametrize(("train", "options", "named"), LOST.values(), ids=LOST)
def test_lost_option_is_named(rows, classes, train, options, named):
    """A model with an option that its converter loses is rejected with the option and a remedy."""
    with pytest.raises(LostOptionError, match=f"with .*{named}.*; (train|mark)"):
        convert(train(rows, classes, **options), rows, DIRECTIONS)


@pytest.mark.parametrize(
    ("train", "options", "named"), LOST_REGRESSORS.values(), ids=LOST_REGRESSORS
)
def test_lost_option_of_regressor_is_named(rows, train, options, named):
    """The same for regressors."""
    target = (rows[:, 0] > 0).astype(float)
    with pytest.raises(LostOptionError, match=named):
        convert(train(rows, target, **options), rows)


def test_binary_sigmoid_is_named(rows, classes):
    """A factor of the sigmoid is lost."""
    with pytest.raises(LostOptionError, match="sigmoid=2"):
        convert(lightgbm(rows, classes > 0, sigmoid=2.0), rows)


def test_early_stopping_of_parallel_trees_is_named(rows, classes):
    """XGBoost's converter drops trees of a forest with early stopping."""
    import xgboost as library

    model = library.XGBClassifier(
        n_estimators=40, num_parallel_tree=2, early_stopping_rounds=2, n_jobs=1
    )
    model.fit(rows[:200], classes[:200], eval_set=[(rows[200:], classes[200:])], verbose=False)
    with pytest.raises(LostOptionError, match="num_parallel_tree above 1 and early stopping"):
        convert(model, rows, DIRECTIONS)


def test_thresholds_between_float32_values(rows, classes):
    """LightGBM's double thresholds decide every float32 value as in LightGBM."""
    level = np.float32(30_000)
    ticks = (level + np.round(rows * 4) * np.spacing(level)).astype(np.float32)
    conversion = convert(lightgbm(ticks, classes), ticks, DIRECTIONS)
    (check,) = (check for check in conversion.checks if check.rows == THRESHOLDS)
    assert check.is_passed
    assert check.agreement.windows > 100


def test_unknown_loss_is_found_by_comparison(rows, classes, monkeypatch):
    """Outputs that differ without a known cause are rejected with the rows and the difference."""
    from registry.convert import lightgbm_models

    monkeypatch.setattr(lightgbm_models, "_losses", lambda *_: [])
    with pytest.raises(
        OutputsDifferError, match=r"(given windows|rows on thresholds) .* change; train"
    ):
        convert(lightgbm(rows, classes, objective="multiclassova"), rows, DIRECTIONS)


def test_steps_in_doubles(rows, classes):
    """A forest behind a scaler in doubles keeps them inside, with an input of float32."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    more = np.tile(rows, (4, 1))
    forest = RandomForestClassifier(30, random_state=0)
    model = make_pipeline(StandardScaler(), forest).fit(more, np.tile(classes, 4))
    conversion = convert(model, rows, DIRECTIONS)
    assert conversion.windows.dtype == np.float32
    assert {check.rows for check in conversion.checks if check.is_passed} >= {WINDOWS, THRESHOLDS}
    regressor = make_pipeline(StandardScaler(), RandomForestRegressor(10, random_state=0))
    assert convert(regressor.fit(more, more[:, 0]), rows).windows.dtype == np.float32


def test_missing_values(rows, classes):
    """NaN is kept by boosting, and rejected in the windows of a forest of scikit-learn."""
    holes = np.where(np.random.default_rng(1).random(rows.shape) < 0.1, np.float32(np.nan), rows)
    assert convert(lightgbm(holes, classes), holes, DIRECTIONS).keeps_missing
    forest = {"kind": "RandomForestClassifier", "n_estimators": 8}
    with pytest.raises(LostOptionError, match="NaN in RandomForestClassifier"):
        convert(scikit_learn(holes, classes, **forest), holes, DIRECTIONS)
    assert not convert(scikit_learn(rows, classes, **forest), rows, DIRECTIONS).keeps_missing


def test_calibrated_models(rows, classes):
    """A calibrated pipeline and an isotonic calibration are named."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    for model, named in (
        (CalibratedClassifierCV(pipeline, cv=3), "a calibrated pipeline"),
        (CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3), "isotonic"),
        (make_pipeline(StandardScaler(), CalibratedClassifierCV(pipeline, cv=3)), "a calibrated"),
    ):
        with pytest.raises(LostOptionError, match=named):
            convert(model.fit(rows, classes), rows, DIRECTIONS)


def test_histogram_boosting_of_protobuf_7(rows, classes):
    """The error of skl2onnx with protobuf 7 states the cause."""
    model = scikit_learn(rows, classes, kind="HistGradientBoostingClassifier", max_iter=3)
    with pytest.raises(ConverterFailedError, match="protobuf below 7"):
        convert(model, rows, DIRECTIONS)


def test_class_names_become_label_map(rows, classes):
    """Classes that are named like directions need no mapping, and must not contradict one."""
    words = np.array(["SELL", "HOLD", "BUY"])[classes]
    model = scikit_learn(rows, words)
    assert convert(model, rows).label_map == {0: "BUY", 1: "HOLD", 2: "SELL"}
    with pytest.raises(UnsupportedModelError, match="BUY as BUY, received SELL"):
        convert(model, rows, {"BUY": "SELL"})


def pipeline(rows, target, kind, **options):
    """Return a scaler and a model of scikit-learn, fitted."""
    from sklearn import ensemble, linear_model, neural_network, svm
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    modules = (ensemble, linear_model, neural_network, svm)
    library = next(module for module in modules if hasattr(module, kind))
    return make_pipeline(StandardScaler(), getattr(library, kind)(**options)).fit(rows, target)


DOUBLE = {
    "LightGBM": (lightgbm, {}),
    "LightGBM forest": (lightgbm, FOREST),
    "scaler, linear": (pipeline, {"kind": "LogisticRegression"}),
    "scaler, forest": (pipeline, {"kind": "RandomForestClassifier", "n_estimators": 8}),
    "scaler, boosting": (pipeline, {"kind": "GradientBoostingClassifier", "n_estimators": 5}),
}


@pytest.fixture
def small_steps(rows):
    """Return prices in float64 whose differences float32 does not resolve."""
    return 65_432.0 + rows.astype(np.float64) * 1e-4


@pytest.mark.parametrize(("train", "options"), DOUBLE.values(), ids=DOUBLE)
async def test_model_of_doubles(small_steps, classes, train, options, tmp_path):
    """A model that depends on digits beyond float32 serves the outputs of its library."""
    model = train(small_steps, classes, **options)
    conversion = convert(model, small_steps, DIRECTIONS)
    expected = model.predict_proba(small_steps)
    rounded = model.predict_proba(small_steps.astype(np.float32))
    assert np.abs(expected - rounded).max() > 1e-3
    conversion.write(tmp_path / "converted")
    info = await ModelRegistry(tmp_path / "models").register_model(
        "m",
        "1.0.0",
        tmp_path / "converted" / "model.onnx",
        artifacts={"windows.npz": tmp_path / "converted" / "windows.npz"},
        **conversion.registration,
    )
    assert info.metadata.input_type == "float64"
    recorded = (tmp_path / "converted" / "windows.npz").read_bytes()
    try_artifact("model.onnx", conversion.onnx, info.metadata, recorded=recorded)
    served = load_predictor(conversion.onnx, info.metadata, num_threads=1)(small_steps[:, None])
    np.testing.assert_allclose(served["direction_probabilities"], expected, rtol=0, atol=1e-5)


def test_regressor_of_doubles_with_categories_and_holes(small_steps, rows):
    """Categories and missing values are kept beside thresholds in double."""
    values = small_steps.copy()
    values[:, 1] = np.abs(rows[:, 1] * 4).astype(int)
    values[::7, 2] = np.nan
    from lightgbm import LGBMRegressor

    # The constructor ignores categorical_feature with a warning.
    model = LGBMRegressor(n_estimators=8, min_child_samples=5, num_threads=1, verbose=-1)
    model.fit(values, rows[:, 0] + values[:, 1] % 2, categorical_feature=[1])
    conversion = convert(model, values)
    assert conversion.windows.dtype == np.float64
    assert conversion.keeps_missing


def test_doubles_without_an_equal_form(small_steps, rows):
    """A model whose converter has no form in doubles is rejected with the remedy."""
    with pytest.raises(LostOptionError, match=r"windows in float64.*; train on windows.astype"):
        convert(pipeline(small_steps, rows[:, 0], kind="SVR"), small_steps)


def test_quantiles(rows):
    """XGBoost's quantiles are one output of all levels; other outputs are rejected."""
    model = xgboost(
        rows,
        rows[:, 0] * 0.01,
        kind="XGBRegressor",
        objective="reg:quantileerror",
        quantile_alpha=[0.1, 0.5, 0.9],
    )
    conversion = convert(model, rows)
    assert conversion.registration["dataset_info"] == {"quantile_levels": [0.1, 0.5, 0.9]}
    assert conversion.registration["output_names"] == {"return_quantiles": "return_quantiles"}
    several = scikit_learn(rows, rows[:, :2], kind="LinearRegression")
    with pytest.raises(UnsupportedModelError, match="received 2 outputs"):
        convert(several, rows)


def test_quantiles_of_catboost_are_named(rows):
    """CatBoost writes a file of several quantiles that does not load."""
    levels = {"kind": "CatBoostRegressor", "loss_function": "MultiQuantile:alpha=0.1,0.5"}
    with pytest.raises(LostOptionError, match="loss_function MultiQuantile"):
        convert(catboost(rows, rows[:, 0], **levels), rows)


@pytest.mark.parametrize(
    ("model", "windows", "problem"),
    [
        ("text", np.zeros((2, 6)), "received builtins.str"),
        (None, np.zeros((2, 5)), "windows of 6 values"),
        (None, np.zeros((0, 6)), "an array of numbers"),
        (None, np.array([["a"] * 6]), "an array of numbers"),
    ],
)
def test_invalid_arguments(rows, classes, model, windows, problem):
    """The error names the expectation."""
    with pytest.raises(ConversionError, match=problem):
        convert(model or scikit_learn(rows, classes), windows, DIRECTIONS)


def test_unfitted_model():
    """A model that is not fitted is rejected."""
    from lightgbm import LGBMClassifier

    with pytest.raises(UnsupportedModelError, match="a fitted model"):
        convert(LGBMClassifier(), np.zeros((2, 6)), DIRECTIONS)
