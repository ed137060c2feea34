"""The windows of an evaluation."""

import io

import numpy as np
import pytest

from optimization.errors import InvalidInputError
from optimization.measurement.windows import (
    affordable,
    fitted,
    noise,
    read_windows,
    split_windows,
)

SHAPE = (3, 2)


def test_split_windows():
    """The windows for calibration and for evaluation are disjoint."""
    windows = noise(SHAPE, 10)
    split = split_windows(windows, "test")
    assert len(split.calibration) == 3
    np.testing.assert_array_equal(np.concatenate([split.calibration, split.windows]), windows)


def test_noise():
    """Noise is the same on each call."""
    np.testing.assert_array_equal(noise(SHAPE), noise(SHAPE))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_read_windows(tmp_path, suffix):
    """Both file formats are read as float32, from a path and from a stream."""
    path = tmp_path / f"windows{suffix}"
    windows = noise(SHAPE, 5).astype(np.float64)
    np.save(path, windows) if suffix == ".npy" else np.savez_compressed(path, windows=windows)
    read = read_windows(path, SHAPE)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, windows)
    np.testing.assert_array_equal(read_windows(io.BytesIO(path.read_bytes()), SHAPE, "it"), read)


def write(path, value, **options):
    np.save(path, value, **options)
    return path


def test_read_invalid_file(tmp_path):
    """The error for an invalid file states the expected and the received content."""
    path = tmp_path / "windows.npy"
    with pytest.raises(InvalidInputError, match="no such file"):
        read_windows(path, SHAPE)
    path.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(InvalidInputError, match=r"windows, 3, 2\), received BadZipFile"):
        read_windows(path, SHAPE)
    path.write_bytes(b"")
    with pytest.raises(InvalidInputError, match="received EOFError"):
        read_windows(path, SHAPE)
    for value, received in (
        (np.zeros((4, 2, 3)), r"\(4, 2, 3\)"),
        (np.zeros((0, 3, 2)), r"\(0, 3, 2\)"),
        (np.full((4, 3, 2), "a"), "<U1"),
        (np.full((4, 3, 2), np.inf), "24 that are NaN or infinite"),
    ):
        with pytest.raises(InvalidInputError, match=received):
            read_windows(write(path, value), SHAPE)
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(InvalidInputError, match=r"the arrays \['a', 'b'\]"):
        read_windows(tmp_path / "two.npz", SHAPE)


def test_read_pickle(tmp_path):
    """A pickle in the file is not executed."""
    with pytest.raises(InvalidInputError, match="allow_pickle=False"):
        read_windows(write(tmp_path / "w.npy", np.array([{}], dtype=object)), SHAPE)


def test_split_two_windows():
    """Two windows are too few to split."""
    with pytest.raises(InvalidInputError, match="at least three, received 2"):
        split_windows(noise(SHAPE, 2), "test")


def test_fitted():
    """Windows are reshaped to flat rows and otherwise unchanged."""
    windows = noise(SHAPE, 5)
    np.testing.assert_array_equal(fitted(windows, (6,)), windows.reshape(5, 6))
    for shape in (SHAPE, (None, 2), (7,)):
        assert fitted(windows, shape) is windows


class Slow:
    """A model that takes a fixed time per window by its own clock."""

    input_shape = (None, 3)

    def __init__(self, duration_s):
        self.duration_s, self.now_s = duration_s, 0.0

    def __call__(self, windows):
        self.now_s += self.duration_s * len(windows)
        return {"output": np.zeros((len(windows), 1), np.float32)}


@pytest.mark.parametrize(("duration_s", "count"), [(0.001, 2048), (0.01, 1000), (0.2, 200)])
def test_affordable_windows(duration_s, count):
    """A slow model is evaluated on fewer windows, but on at least the minimum."""
    model = Slow(duration_s)
    found = affordable(model, noise((3,)), 10.0, 200, clock=lambda: model.now_s)
    assert found == pytest.approx(count, abs=1)


def test_affordable_at_most_all():
    """No more windows are chosen than exist."""
    model = Slow(0.2)
    assert affordable(model, noise((3,), 5), 10.0, 200, clock=lambda: model.now_s) == 5
