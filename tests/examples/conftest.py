"""The real market data, loaded once."""

import pytest

from examples.eurusd.data import load_bars
from examples.eurusd.dataset import make_samples


@pytest.fixture(scope="session")
def bars():
    return load_bars()


@pytest.fixture(scope="session")
def samples(bars):
    return make_samples(bars)
