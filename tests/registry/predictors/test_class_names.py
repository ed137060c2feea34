"""Names of classes in a model's file."""

import pytest

from registry.errors import UnreadableArtifactError
from registry.predictors import Declarations, check_classes, named_label_maps

SELL_HOLD_BUY = {0: "SELL", 1: "HOLD", 2: "BUY"}


def declared(*texts):
    return Declarations((), (), texts)


@pytest.mark.parametrize(
    ("texts", "label_map"),
    [
        (("SELL", "HOLD", "BUY"), SELL_HOLD_BUY),
        (("down", "flat", "up"), SELL_HOLD_BUY),
        (("short", "long"), {0: "SELL", 1: "BUY"}),
    ],
)
def test_names_of_directions(texts, label_map):
    """Names of directions in any case state a label map, which is accepted."""
    assert named_label_maps(declared(texts)) == [label_map]
    check_classes(declared(texts), label_map, "model.onnx")


@pytest.mark.parametrize("texts", [("0", "1", "2"), ("a", "BUY", "SELL")])
def test_other_names(texts):
    """Other names, and a file that is no model, contradict nothing."""
    check_classes(declared(texts), SELL_HOLD_BUY, "model.onnx")
    check_classes(None, SELL_HOLD_BUY, "model.onnx")


@pytest.mark.parametrize("texts", [("BUY", "HOLD", "SELL"), ("Up", "Down"), ("SELL", "BUY")])
def test_contradiction(texts):
    """The error states both orders and the remedy."""
    with pytest.raises(UnreadableArtifactError, match=r"the classes SELL, HOLD, BUY .* names them"):
        check_classes(declared(texts), SELL_HOLD_BUY, "model.onnx")
