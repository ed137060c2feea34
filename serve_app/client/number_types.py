"""The type in which features are sent: float32, or float64 to the models that take it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from serve_app.client.encoding import DOUBLE, SINGLE
from serve_app.client.responses import is_failed
from serve_app.errors import RoundedFeaturesError


class NumberTypes:
    """Remembers the models and versions that take float64, as the server reports them.

    float64 is correct for every model, and float32 halves the body.
    """

    def __init__(self) -> None:
        self._double = set[str]()

    def type_of(self, requests: Iterable[object]) -> np.dtype[Any]:
        """Return the type for the features of requests in one body."""
        is_double = any(_model_of(request) in self._double for request in requests)
        return DOUBLE if is_double else SINGLE

    def add_double(self, requests: Iterable[object]) -> None:
        """Remember that the models of these requests take float64."""
        self._double.update(map(_model_of, requests))


def is_rounded(entry: Mapping[str, Any]) -> bool:
    """Return whether a request of a batch failed because its model takes float64."""
    return is_failed(entry) and entry["error"].get("code") == RoundedFeaturesError.code


def _model_of(request: object) -> str:
    fields = request if isinstance(request, Mapping) else {}
    return f"{fields.get('model_name')}:{fields.get('model_version')}"
