"""The errors of a launch."""

import pickle
from pathlib import Path

import pytest

from serve_app.launch import errors
from testkit.error_trees import defined_tree, drawn_tree

EXAMPLES = [
    errors.ConfigError(Path("a.yaml"), ["no such file"]),
    errors.SessionFolderError(Path("/tmp/tradeserve-7"), "mode 0700", "0755"),
    errors.RayTokenError("Ray's token /run/token: the file is empty; delete it"),
    errors.PortTakenError(8001, "HTTP", "http_options.port", "python (pid 7)", "stop it"),
    errors.PortRefusedError("127.0.0.1", 80, "HTTP", "http_options.port", "Permission denied"),
    errors.StartupError("the server ended with exit code 1", "Traceback"),
    errors.RestartsError("GCS: ended", "the restart failed: port 8001 is in use", "Traceback"),
    errors.StopError("raylet (pid 7)"),
]


def test_tree():
    """The docstring draws the tree that the classes form."""
    assert drawn_tree(errors) == defined_tree(errors)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_pickling(error):
    """Each error survives pickling with its data and its message."""
    rebuilt = pickle.loads(pickle.dumps(error))
    assert vars(rebuilt) == vars(error)
    assert str(rebuilt) == str(error)


def test_examples_are_complete():
    """The examples cover every class of the tree."""
    assert {type(error) for error in EXAMPLES} == set(errors.LaunchError.__subclasses__())
