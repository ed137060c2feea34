"""`modelctl` on a registry in a temporary folder."""

import functools

import pytest

from testkit.models import linear_onnx_file
from tests.serve_app.cli import commands


@pytest.fixture
def root(tmp_path):
    """The registry's folder."""
    return tmp_path / "models"


@pytest.fixture
def modelctl(root):
    """Return a function that runs a command on the registry in `root`."""
    return functools.partial(commands.modelctl, MODELCTL_REGISTRY=str(root))


@pytest.fixture
def register(modelctl, tmp_path):
    """Return a function that registers a version of the model `m`."""

    def register(version="1.0.0", *options, weight=1.0):
        path = linear_onnx_file(tmp_path, weight)
        shape = ("--input-shape", "3,2")
        return modelctl("register", "m", version, path, "--type", "Linear", *shape, *options)

    return register
