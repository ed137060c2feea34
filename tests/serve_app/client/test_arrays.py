"""Containers of features: what cannot be sent as it was meant is rejected."""

from array import array
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from serve_app.client.arrays import to_array
from serve_app.client.encoding import SINGLE, as_array, encode_raw
from serve_app.errors import InvalidFeaturesError

WINDOW = np.arange(6.0).reshape(2, 3)
MASKED = np.ma.masked_equal(WINDOW, 4.0)


class NAType:
    """The type of pandas.NA, by its name."""


@pytest.mark.parametrize(
    ("features", "received"),
    [
        (MASKED, r"a masked element at \[1, 1\] \(1 in all\); use filled"),
        (list(MASKED), r"a masked element at \[1, 1\]"),
        ([list(MASKED[0]), list(MASKED[1])], r"a masked element at \[1, 1\]"),
        ((WINDOW[0], MASKED[1]), r"a masked element at \[1, 1\]"),
        ([1.0, np.ma.masked], r"a masked element at \[1\]"),
        (np.ma.masked, r"a masked element at \[\]"),
        (np.ma.masked_all((2,), np.int8), r"\(2 in all\)"),
        (WINDOW.tobytes(), "bytes, whose type"),
        (bytearray(WINDOW.tobytes()), "bytes, whose type"),
        (memoryview(WINDOW.tobytes()), "bytes, whose type"),
        (np.array([[1.0, NAType()]], object), r"a missing value \(NAType; fill it\) at \[0, 1\]"),
        (np.array([1.0, Decimal("0.1")], object), r"type Decimal at \[1\]"),
        (np.array([1.0, True], object), r"type bool at \[1\]"),
        (np.array([2**70 + 1, 1], object), "an array of object"),
        (np.array([Fraction(1, 3)], object), "an array of object"),
        (np.array([1.0, np.nan], object), r"nan at \[1\]"),
        (np.array([1j, 2.0]), r"type complex at \[0\]"),
        (np.array(["2025-01-01"], "M8[D]"), r"at \[0\]"),
        (np.array([(1.0, 2)], "f8,i4"), "at"),
        (np.array(1.5), "type ndarray"),
        ({1.0, 2.0}, "type set"),
        ((value for value in (1.0, 2.0)), "type generator"),
    ],
)
def test_rejected(features, received):
    """The error names the element and its position, and nothing is replaced silently."""
    with pytest.raises(InvalidFeaturesError, match=received):
        as_array(features, SINGLE)


@pytest.mark.parametrize(
    "given",
    [
        np.asfortranarray(WINDOW),
        WINDOW[::-1, ::-1][::-1, ::-1],
        np.repeat(WINDOW, 2, axis=1)[:, ::2],
        WINDOW.astype(">f8"),
        WINDOW.astype(">f4"),
        WINDOW.astype(">i2"),
        WINDOW.astype(np.float16),
        WINDOW.astype(np.longdouble),
        WINDOW.astype(np.uint64),
        WINDOW.astype(object),
        WINDOW.view(np.matrix),
        np.ma.array(WINDOW),
        np.ma.array(WINDOW, mask=np.zeros((2, 3), bool)),
        memoryview(WINDOW),
        [array("d", row) for row in WINDOW.tolist()],
        [tuple(row) for row in WINDOW],
        np.broadcast_to(WINDOW, (1, 2, 3))[0],  # read-only
    ],
)
def test_sent(given):
    """The body depends neither on the layout, the byte order nor the type of an array."""
    body = encode_raw({"symbol": "X", "features": given})
    assert (body.content, body.query) == (WINDOW.astype("<f4").tobytes(), "symbol=X&shape=2%2C3")


def test_objects_become_exact_doubles():
    """Columns of several types keep their values."""
    given = np.array([[1, 0.1], [np.float32(0.5), 2**53]], object)
    np.testing.assert_array_equal(to_array(given), [[1.0, 0.1], [0.5, 2.0**53]])
