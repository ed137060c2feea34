"""Models of other libraries give the same outputs after conversion and registration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from registry import ModelRegistry
from registry.errors import InvalidMetadataError, UnreadableArtifactError
from registry.predictors import load_predictor, try_artifact
from registry.reference_outputs import dump_recorded
from serve_app.data_plane.decoding import decode
from serve_app.data_plane.regression import decoder_of

SHAPE = (4, 3)
WIRE = {"HOLD": 0, "BUY": 1, "SELL": 2}
LABEL_MAPS = [
    dict(enumerate(("HOLD", "BUY", "SELL"))),
    dict(enumerate(("SELL", "HOLD", "BUY"))),
]


@dataclass(frozen=True)
class Converted:
    """A trained classifier and its ONNX conversion."""

    framework: str
    classifier: Any
    onnx: bytes
    direction_output: str = "probabilities"


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(7).standard_normal((300, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def rows(windows):
    return windows.reshape(len(windows), -1)


@pytest.fixture(scope="module")
def classes(rows):
    """Return classes that depend on the first and the last number of a row: order matters."""
    return (rows[:, 0] > 0.3).astype(int) + (rows[:, -1] > 0.2).astype(int)


# The libraries are imported when used, since importing all of them takes seconds.


def scikit_learn(rows, classes, model="LogisticRegression", zipmap=False, dtype=np.float32):
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    kinds = {
        "LogisticRegression": LogisticRegression(),
        "RandomForestClassifier": RandomForestClassifier(n_estimators=8, random_state=0),
    }
    classifier = kinds[model].fit(rows, classes)
    converted = to_onnx(classifier, rows[:1].astype(dtype), options={"zipmap": zipmap})
    # With zipmap, skl2onnx gives the output another name.
    output = "output_probability" if zipmap else "probabilities"
    return Converted("scikit-learn", classifier, converted.SerializeToString(), output)


def lightgbm(rows, classes, zipmap=False):
    from lightgbm import LGBMClassifier
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    classifier = LGBMClassifier(n_estimators=8, min_child_samples=5, num_threads=1, verbose=-1)
    classifier.fit(rows, classes)
    converted = convert_lightgbm(
        classifier,
        initial_types=[("features", FloatTensorType([None, rows.shape[1]]))],
        zipmap=zipmap,
    )
    return Converted("lightgbm", classifier, converted.SerializeToString())


def xgboost(rows, classes):
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from xgboost import XGBClassifier

    classifier = XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1).fit(rows, classes)
    converted = convert_xgboost(
        classifier, initial_types=[("features", FloatTensorType([None, rows.shape[1]]))]
    )
    return Converted("xgboost", classifier, converted.SerializeToString())


TRAININGS = {
    "LogisticRegression": scikit_learn,
    "LogisticRegression of doubles": lambda *data: scikit_learn(*data, dtype=np.float64),
    "RandomForestClassifier": lambda *data: scikit_learn(*data, model="RandomForestClassifier"),
    "LGBMClassifier": lightgbm,
    "XGBClassifier": xgboost,
}


@pytest.fixture(scope="module", params=TRAININGS)
def converted(request, rows, classes):
    return TRAININGS[request.param](rows, classes)


@pytest.fixture
def register(tmp_path):
    """Return a function that registers a model's ONNX file and reads it back."""
    registry = ModelRegistry(tmp_path / "models")

    async def run(model, label_map=LABEL_MAPS[0]):
        path = tmp_path / "trained.onnx"
        path.write_bytes(model.onnx)
        info = await registry.register_model(
            name="any",
            version="1.0.0",
            model_path=path,
            model_type=type(model.classifier).__name__,
            framework=model.framework,
            input_shape=SHAPE,
            output_names={"direction_probabilities": model.direction_output},
            label_map=label_map,
        )
        return info.metadata, await registry.read_artifact("any", "1.0.0", "model.onnx")

    return run


@pytest.mark.parametrize("label_map", LABEL_MAPS, ids=lambda labels: "-".join(labels.values()))
async def test_outputs_equal_those_of_library(register, converted, windows, rows, label_map):
    """A registered model returns the probabilities and the direction of its library."""
    metadata, content = await register(converted, label_map)
    try_artifact("model.onnx", content, metadata)
    predictor = load_predictor(content, metadata, num_threads=1)
    expected = converted.classifier.predict_proba(rows)

    outputs = predictor(windows.astype(metadata.input_type))
    np.testing.assert_allclose(outputs["direction_probabilities"], expected, rtol=0, atol=1e-5)
    predictions = decode(outputs, metadata.label_map)
    chosen = [WIRE[label_map[index]] for index in expected.argmax(axis=1)]
    assert set(chosen) == {0, 1, 2}
    assert [prediction.direction for prediction in predictions] == chosen
    confidences = [prediction.confidence for prediction in predictions]
    np.testing.assert_allclose(confidences, expected.max(axis=1), rtol=0, atol=1e-5)
    assert {prediction.expected_return for prediction in predictions} == {None}


async def test_classes_that_are_words(register, windows, rows, classes):
    """scikit-learn sorts its classes: the label map is `dict(enumerate(classifier.classes_))`."""
    words = np.array(["SELL", "HOLD", "BUY"])[classes]
    model = scikit_learn(rows, words)
    label_map = dict(enumerate(model.classifier.classes_.tolist()))
    assert label_map == {0: "BUY", 1: "HOLD", 2: "SELL"}
    metadata, content = await register(model, label_map)
    predictions = decode(load_predictor(content, metadata, num_threads=1)(windows), label_map)
    expected = [WIRE[word] for word in model.classifier.predict(rows)]
    assert [prediction.direction for prediction in predictions] == expected


@pytest.mark.parametrize("train", [scikit_learn, lightgbm])
async def test_zipmap_is_rejected(register, rows, classes, train):
    """An output of one map per row is rejected, and the error names the conversion option."""
    metadata, content = await register(train(rows, classes, zipmap=True))
    with pytest.raises(UnreadableArtifactError, match=r"seq\(map.*convert .* with zipmap=False"):
        try_artifact("model.onnx", content, metadata)


async def test_names_that_contradict_the_label_map(register, rows, classes):
    """Classes that the file names in another order than the label map are rejected."""
    model = scikit_learn(rows, np.array(["SELL", "HOLD", "BUY"])[classes])
    with pytest.raises(UnreadableArtifactError, match="names them BUY, HOLD, SELL"):
        await register(model, LABEL_MAPS[0])


async def test_two_classes(tmp_path, rows, windows):
    """A classifier of up and down is registered with what its file states, and is equal."""
    classes = np.where(rows[:, 0] > 0, "up", "down")
    model = scikit_learn(rows, classes)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.onnx)
    info = await ModelRegistry(tmp_path / "models").register_model(
        "m",
        "1.0.0",
        path,
        "LogisticRegression",
        input_shape=SHAPE,
        output_names={"direction_probabilities": model.direction_output},
    )
    assert info.metadata.label_map == {0: "SELL", 1: "BUY"}
    try_artifact("model.onnx", model.onnx, info.metadata)
    results = decoder_of(info.metadata)(load_predictor(model.onnx, info.metadata, 1)(windows))
    expected = [WIRE["BUY" if name == "up" else "SELL"] for name in model.classifier.predict(rows)]
    assert [prediction.direction for prediction in results] == expected


async def test_regressor(tmp_path, rows, windows):
    """A regressor of one output is registered with a dead band, and is equal."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    regressor = LinearRegression().fit(rows, rows[:, 0] * 0.01)
    content = to_onnx(regressor, rows[:1]).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    registry = ModelRegistry(tmp_path / "models")
    fields = {"input_shape": SHAPE, "output_names": {"expected_return": "variable"}}
    with pytest.raises(InvalidMetadataError, match=r"dead_band, the return .* received None"):
        await registry.register_model("m", "1.0.0", path, "LinearRegression", **fields)
    info = await registry.register_model(
        "m", "1.0.0", path, "LinearRegression", dataset_info={"dead_band": 0.002}, **fields
    )
    try_artifact("model.onnx", content, info.metadata)
    results = decoder_of(info.metadata)(load_predictor(content, info.metadata, 1)(windows))
    expected = regressor.predict(rows).ravel()
    received = [prediction.expected_return for prediction in results]
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-6)
    assert {prediction.direction for prediction in results} == {0, 1, 2}


async def test_quantiles_in_one_output(tmp_path, rows, windows):
    """A model whose output holds all quantiles is registered with their levels, and is equal."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    targets = rows[:, :1] * 0.01 + np.array([[-0.02, 0.0, 0.02]])
    regressor = LinearRegression().fit(rows, targets)
    content = to_onnx(regressor, rows[:1]).SerializeToString()
    path, recorded = tmp_path / "model.onnx", tmp_path / "windows.npz"
    path.write_bytes(content)
    recorded.write_bytes(dump_recorded(windows, {"return_quantiles": regressor.predict(rows)}))

    async def register(*levels):
        return await ModelRegistry(tmp_path / "models").register_model(
            "m",
            "1.0.0",
            path,
            "LinearRegression",
            input_shape=SHAPE,
            output_names={"return_quantiles": "variable"},
            dataset_info={"dead_band": 0.002, "quantile_levels": levels},
            artifacts={"windows.npz": recorded},
        )

    with pytest.raises(
        InvalidMetadataError, match=r"ascending numbers between .*received \[0\.9, 0"
    ):
        await register(0.9, 0.5, 0.1)
    with pytest.raises(UnreadableArtifactError, match=r"a model of 2 quantiles.* has 3"):
        await register(0.1, 0.5)
    metadata = (await register(0.1, 0.5, 0.9)).metadata
    try_artifact("model.onnx", content, metadata, recorded=recorded.read_bytes())
    results = decoder_of(metadata)(load_predictor(content, metadata, 1)(windows))
    received = [list(prediction.return_quantiles.values()) for prediction in results]
    np.testing.assert_allclose(received, regressor.predict(rows), rtol=0, atol=1e-6)
    assert [prediction.expected_return for prediction in results] == [row[1] for row in received]
    assert {prediction.direction for prediction in results} == {0, 1, 2}
