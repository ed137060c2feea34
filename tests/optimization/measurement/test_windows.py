"""Windows to judge by."""

import io

import numpy as np
import pytest

from optimization.errors import InvalidInputError
from optimization.measurement.windows import fitted, noise, read_windows, split_windows

SHAPE = (3, 2)


def test_what_calibrates_does_not_judge():
    windows = noise(SHAPE, 10)
    split = split_windows(windows, "test")
    assert len(split.calibration) == 3
    np.testing.assert_array_equal(np.concatenate([split.calibration, split.evaluated]), windows)


def test_noise_is_always_the_same():
    np.testing.assert_array_equal(noise(SHAPE), noise(SHAPE))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_file_of_windows_is_read(tmp_path, suffix):
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


def test_other_files_are_refused_with_what_was_expected(tmp_path):
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


def test_a_pickle_among_the_windows_is_not_unpickled(tmp_path):
    with pytest.raises(InvalidInputError, match="allow_pickle=False"):
        read_windows(write(tmp_path / "w.npy", np.array([{}], dtype=object)), SHAPE)


def test_two_windows_are_too_few():
    with pytest.raises(InvalidInputError, match="at least three, received 2"):
        split_windows(noise(SHAPE, 2), "test")


def test_windows_take_the_shape_of_flat_rows_and_no_other():
    windows = noise(SHAPE, 5)
    np.testing.assert_array_equal(fitted(windows, (6,)), windows.reshape(5, 6))
    for shape in (SHAPE, (None, 2), (7,)):
        assert fitted(windows, shape) is windows
