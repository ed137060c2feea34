"""The comparison of machines."""

from optimization.measurement.machine import differences, this_machine


def test_this_machine():
    """A machine does not differ from itself."""
    described = this_machine().as_json()
    assert described["cores"] >= 1
    assert {"onnxruntime", "torch", "numpy"} <= described["packages"].keys()
    assert differences(described, described) == []


def test_differences():
    """The differences name the fields."""
    described = this_machine().as_json()
    other = {**described, "processor": "abacus", "cores": 1_000}
    assert [difference.split(":")[0] for difference in differences(other, described)] == [
        "processor",
        "cores",
    ]
