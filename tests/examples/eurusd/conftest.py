"""The market data, loaded once."""

import pytest

from examples.eurusd.data import load_bars
from examples.eurusd.dataset import make_samples, split_samples
from testkit.feature_sets import declare_example


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """Declare the feature set of the example, as its installed distribution does."""
    site = tmp_path_factory.mktemp("site")
    declare_example(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield


@pytest.fixture(scope="session")
def bars():
    """All bars of the year."""
    return load_bars()


@pytest.fixture(scope="session")
def samples(bars):
    """The samples of all bars."""
    return make_samples(bars)


@pytest.fixture(scope="session")
def few_bars(bars):
    """Bars for a quick training."""
    return bars.take(slice(1000))


@pytest.fixture(scope="session")
def split(few_bars):
    """The split of few bars."""
    return split_samples(make_samples(few_bars))
