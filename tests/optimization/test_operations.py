"""How many windows a model is judged by."""

import numpy as np
import pytest

from optimization.measurement.windows import noise
from optimization.operations import affordable


class Slow:
    """Takes its time for every window, by a clock of its own."""

    input_shape = (None, 3)

    def __init__(self, taking_s):
        self.taking_s, self.now_s = taking_s, 0.0

    def __call__(self, windows):
        self.now_s += self.taking_s * len(windows)
        return {"output": np.zeros((len(windows), 1), np.float32)}


@pytest.mark.parametrize(("taking_s", "count"), [(0.001, 2048), (0.01, 1000), (0.2, 200)])
def test_a_slow_model_is_judged_by_fewer_windows_but_not_by_few(taking_s, count):
    model = Slow(taking_s)
    found = affordable(model, noise((3,)), 10.0, 200, clock=lambda: model.now_s)
    assert found == pytest.approx(count, abs=1)


def test_there_are_no_more_windows_than_there_are():
    model = Slow(0.2)
    assert affordable(model, noise((3,), 5), 10.0, 200, clock=lambda: model.now_s) == 5
