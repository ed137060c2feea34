"""NumPy's file format: what NumPy writes is read, and nothing else."""

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.api.rest.npy import MAX_HEADER_BYTES, read_npy
from serve_app.errors import InvalidFeaturesError

WINDOW = np.array([[1, 2.5], [-3, 4e-3], [5, 6]], dtype=np.float32)
DESCR, ORDER, SHAPE = "'descr': '<f4'", "'fortran_order': False", "'shape': (3, 2)"
TYPES = ["<f2", "<f4", ">f4", "<f8", ">f8", "i1", "<i2", ">i4", "<i8", "u1", ">u2", "<u4", "<u8"]


def npy(numbers, version=None, **kwargs):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(numbers), version=version, **kwargs)
    return file.getvalue()


def with_header(text):
    header = text.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + WINDOW.tobytes()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", TYPES)
def test_arrays_of_numbers_are_read(dtype, version):
    """Arrays of every numeric type, order and version of the format are read."""
    for numbers in (WINDOW, WINDOW.ravel(), WINDOW.T, WINDOW[:, :, None]):
        expected = numbers.astype(dtype)
        read = read_npy(npy(expected, version))
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected)


def test_arrays_of_no_dimension_or_length_are_left_to_a_later_check():
    """A single number and an empty array are read, and are no window."""
    assert read_npy(npy(np.float64(3))).shape == ()
    assert read_npy(npy(WINDOW[:0])).size == 0


def test_array_is_not_copied():
    """The array is a view of the body."""
    assert not read_npy(npy(WINDOW)).flags.owndata


@pytest.mark.parametrize(
    "header",
    [
        f"{{{DESCR}, {ORDER}, {SHAPE}, }}",
        f"{{{DESCR}, {ORDER}, {SHAPE}}}",
        f"{{{SHAPE},{ORDER},{DESCR}}}\n",
        f"{{ {ORDER} ,  {SHAPE} ,\n {DESCR} , }}  \n",
        '{"descr":"<f4","fortran_order":False,"shape":(3,2,)}',
    ],
)
def test_other_spellings_of_the_header_are_read(header):
    """The entries of a header may come in any order, as other libraries write them."""
    np.testing.assert_array_equal(read_npy(with_header(header)), WINDOW)


@pytest.mark.parametrize(
    ("body", "received"),
    [
        (b"", "another file"),
        (b"PK\x03\x04" + npy(WINDOW), "another file"),
        (b"\x93NUMPY", "another version of the format"),
        (b"\x93NUMPY\x09\x00" + npy(WINDOW)[8:], "another version of the format"),
        (npy(WINDOW)[:9], "a header of .* bytes in 9"),
        (npy(WINDOW)[:-1], r"a header for float32 \(3, 2\) with 23 bytes after it"),
        (npy(WINDOW) + b"\0", r"a header for float32 \(3, 2\) with 25 bytes after it"),
        (npy([None], allow_pickle=True), r"Python objects or structures, or the data type '\|O'"),
        (npy(np.array([True])), r"the data type '\|b1'"),
        (npy(np.array(["a"])), "the data type '<U1'"),
        (npy(np.array([1j])), "the data type '<c16'"),
        (npy(np.array([1], dtype="<M8[s]")), "the data type"),
        (npy(np.zeros(1, dtype=[("a", "<f4")])), "a header that does not consist of"),
        (with_header(f"{{{DESCR}, {ORDER}, {SHAPE}}}" + " " * MAX_HEADER_BYTES), "a header of "),
    ],
)
def test_other_files_are_rejected(body, received):
    """A file that does not hold an array of numbers of its size is rejected with the reason."""
    with pytest.raises(InvalidFeaturesError, match=received):
        read_npy(body)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        f"{{{DESCR}, {ORDER}}}",
        f"{{{DESCR}, {ORDER}, {SHAPE}, {DESCR}}}",
        f"{{{DESCR}, {ORDER}, {SHAPE}, 'a': 'b'}}",
        f"{{{DESCR} {ORDER} {SHAPE}}}",
        f"{{{DESCR}, {ORDER}, 'shape': 6}}",
        f"{{{DESCR}, {ORDER}, 'shape': (6)}}",
        f"{{{DESCR}, {ORDER}, 'shape': (-3, -2)}}",
        f"{{{DESCR}, {ORDER}, 'shape': (3L, 2L)}}",
        f"{{{DESCR}, {ORDER}, 'shape': (3, 2, {'1, ' * 9})}}",
        f"{{{DESCR}, {ORDER}, 'shape': (1, 9999999999999999)}}",
        f"{{{DESCR}, {ORDER}, 'shape': (0, 999999999999999)}}",
        f"{{{DESCR}, {ORDER}, 'shape': '(3, 2)'}}",
        f"{{{DESCR}, 'fortran_order': 1, {SHAPE}}}",
        f"{{'descr': True, {ORDER}, {SHAPE}}}",
        f"{{'descr': '<f16', {ORDER}, {SHAPE}}}",
        f"{{'descr': '<f4\\x00', {ORDER}, {SHAPE}}}",
        f"{{'descr': '<f4', {ORDER}, {SHAPE}}}}}",
        f"({DESCR}, {ORDER}, {SHAPE})",
        "__import__('os').system('true')",
        "{" + "(" * 500 + ": 1}",
        "\xff" * 50,
    ],
)
def test_other_headers_are_rejected(header):
    """A header outside the grammar is rejected, whatever it says."""
    with pytest.raises(InvalidFeaturesError):
        read_npy(with_header(header))


def test_exaggerated_header_allocates_nothing():
    """The header of a file that declares more numbers than it holds is rejected."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 110), }"
    with pytest.raises(InvalidFeaturesError, match=r"\(1000000000000, 110\) with 24 bytes after"):
        read_npy(with_header(header))


@given(st.binary(max_size=4), st.integers(0, 160), st.integers(0, 4))
@example(b"\x1c", 60, 0)
def test_damaged_files_are_read_as_numpy_reads_them_or_rejected(inserted, position, removed):
    """A damaged file is rejected, or read as NumPy's reader does."""
    body = npy(WINDOW)
    body = body[:position] + inserted + body[position + removed :]
    try:
        read = read_npy(body)
    except InvalidFeaturesError:
        return
    np.testing.assert_array_equal(read, np.load(io.BytesIO(body)))
