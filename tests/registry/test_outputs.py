"""The output names that a version's metadata may declare."""

import pytest

from registry.outputs import check_output_names


@pytest.mark.parametrize("direction", ["direction_logits", "direction_probabilities"])
@pytest.mark.parametrize(
    "others", [[], ["confidence"], ["expected_return"], ["confidence", "expected_return"]]
)
def test_direction_is_sufficient(direction, others):
    """One direction output is sufficient, and the other outputs are optional."""
    check_output_names({meaning: f"out_{meaning}" for meaning in (direction, *others)})


@pytest.mark.parametrize(
    ("output_names", "problem"),
    [
        ({}, "exactly one of direction_logits and direction_probabilities, .* received neither"),
        ({"confidence": "c"}, "received neither"),
        (
            {"direction_logits": "l", "direction_probabilities": "p"},
            "received direction_logits and direction_probabilities",
        ),
        ({"direction_logits": "l", "probability": "p"}, "received probability"),
        ({"direction_logits": "l", "confidence": "l"}, "a separate output for each meaning"),
        ({"direction_logits": ""}, "a separate output for each meaning"),
    ],
)
def test_insufficient_names(output_names, problem):
    """Names that are not sufficient for a prediction raise an error with the reason."""
    with pytest.raises(ValueError, match=problem):
        check_output_names(output_names)


def test_regressor():
    """The expected return alone is sufficient, with or without a confidence."""
    check_output_names({"expected_return": "y"})
    check_output_names({"expected_return": "y", "confidence": "c"})
