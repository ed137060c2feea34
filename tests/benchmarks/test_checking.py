"""Servers are compared only where they answer the same."""

import pytest

from benchmarks.serving_peers.checking import Answer, UnequalAnswersError, require_equal

ANSWER = Answer(1, 0.5, 0.001)


def test_equal_answers_and_the_last_digits_of_float32_pass():
    require_equal({"ours": [ANSWER, ANSWER], "peer": [ANSWER, Answer(1, 0.50005, 0.00105)]})


@pytest.mark.parametrize(
    "other", [Answer(2, 0.5, 0.001), Answer(1, 0.501, 0.001), Answer(1, 0.5, 0.002)]
)
def test_another_direction_or_number_is_refused_with_both_names_and_the_window(other):
    with pytest.raises(UnequalAnswersError, match=r"window 1: ours .* peer"):
        require_equal({"ours": [ANSWER, ANSWER], "peer": [ANSWER, other]})
