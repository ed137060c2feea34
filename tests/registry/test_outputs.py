"""What a version's metadata may say of its model's outputs."""

import pytest

from registry.outputs import check_output_names


@pytest.mark.parametrize("direction", ["direction_logits", "direction_probabilities"])
@pytest.mark.parametrize(
    "others", [[], ["confidence"], ["expected_return"], ["confidence", "expected_return"]]
)
def test_a_direction_is_enough_and_the_rest_is_optional(direction, others):
    check_output_names({meaning: f"out_{meaning}" for meaning in (direction, *others)})


@pytest.mark.parametrize(
    ("output_names", "problem"),
    [
        ({}, "exactly one of direction_logits and direction_probabilities, received neither"),
        ({"confidence": "c"}, "received neither"),
        (
            {"direction_logits": "l", "direction_probabilities": "p"},
            "received direction_logits and direction_probabilities",
        ),
        ({"direction_logits": "l", "probability": "p"}, "received probability"),
        ({"direction_logits": "l", "confidence": "l"}, "an output of its own for each meaning"),
        ({"direction_logits": ""}, "an output of its own for each meaning"),
    ],
)
def test_names_that_make_no_prediction_are_refused_with_the_reason(output_names, problem):
    with pytest.raises(ValueError, match=problem):
        check_output_names(output_names)
