"""The names of outputs in each structure that a network may return."""

from types import SimpleNamespace

import pytest
import torch

from optimization.outputs import name_outputs
from registry.architectures import OUTPUT_NAMES, NetworkOutput

LOGITS, CONFIDENCE, RETURN = torch.zeros(2, 3), torch.zeros(2, 1), torch.ones(2, 1)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (NetworkOutput(LOGITS, CONFIDENCE, RETURN), OUTPUT_NAMES),
        ((LOGITS, CONFIDENCE, RETURN), OUTPUT_NAMES),
        (
            SimpleNamespace(direction_logits=LOGITS, confidence=RETURN, expected_return=RETURN),
            OUTPUT_NAMES,
        ),
        ((LOGITS, LOGITS), ("output_0", "output_1")),
        (LOGITS, ("output",)),
        ({"a": LOGITS, "b": [RETURN, None, RETURN]}, ("a", "b_0", "b_2")),
        ((LOGITS, (RETURN, RETURN)), ("output_0", "output_1_0", "output_1_1")),
    ],
)
def test_name_outputs(value, names):
    """Each structure of tensors has names."""
    assert tuple(name_outputs(value)) == tuple(names)


@pytest.mark.parametrize("value", [None, 3, {}, {"a": "text"}])
def test_no_tensor(value):
    """A structure without tensors is an error."""
    with pytest.raises(TypeError, match="expected tensors from the network"):
        name_outputs(value)
