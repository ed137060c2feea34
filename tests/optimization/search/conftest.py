"""One search that several tests examine."""

import pytest

from optimization.measurement.windows import noise
from optimization.search.search import search
from tests.optimization.search.searches import evaluation, settings


@pytest.fixture(scope="session")
def found(exported):
    windows = noise((12, 6), 320)
    return search(exported.read_bytes(), exported, evaluation(windows), settings())
