"""The output names that a version's metadata may declare."""

import pytest

from registry.outputs import check_levels, check_output_names


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
        ({"return_quantiles": "q", "expected_return": "y"}, "without expected_return"),
        ({"return_quantiles": "q", "return_quantile_0.1": "y"}, "holds the median and all levels"),
        ({"direction_logits": "l", "return_quantile_0.1": "y"}, "the median as expected_return"),
        ({"expected_return": "y", "return_quantile_0.5": "m"}, "the median as expected_return"),
        (
            {"expected_return": "y", "return_quantile_0.1": "a", "return_quantile_0.10": "b"},
            "a different level per return_quantile_LEVEL",
        ),
        ({"expected_return": "y", "return_quantile_1.1": "q"}, "received return_quantile_1.1"),
        ({"expected_return": "y", "return_quantile_0.0": "q"}, "received return_quantile_0.0"),
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


def test_quantiles():
    """Quantiles are sufficient in one output, and separate ones beside the median."""
    check_output_names({"return_quantiles": "y"})
    check_output_names({"expected_return": "m", "return_quantile_0.05": "q"})


@pytest.mark.parametrize(
    "levels",
    [None, [], "0.5", [0.1, 0.9], [0.5, 0.1], [0.5, 0.5], [0.0, 0.5], [0.5, 1.0], [0.5, None], 0.5],
)
def test_invalid_levels(levels):
    """Levels are ascending numbers between 0 and 1, with that of the median."""
    with pytest.raises(ValueError, match=r"ascending numbers between .* received"):
        check_levels(levels)
