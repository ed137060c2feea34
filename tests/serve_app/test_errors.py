"""The error tree."""

import pickle

import pytest

from serve_app import errors
from testkit.error_trees import defined_tree, drawn_tree, leaves
from tests.serve_app.error_examples import EXAMPLES


def test_the_drawn_tree_is_the_defined_one():
    """The tree in the module's docstring holds exactly the classes of the module."""
    assert drawn_tree(errors) == defined_tree(errors)


def test_every_leaf_has_an_example():
    """The examples cover every error that can be raised."""
    assert set(leaves(errors.ServingError)) <= {type(example) for example in EXAMPLES}


def test_codes_are_unique():
    """Every error of the server has a unique code, and so has every error of the client.

    The client's deadline and the server's are the same to a bot.
    """
    of_client = set(leaves(errors.ClientError))
    for raised in (set(leaves(errors.ServingError)) - of_client, of_client):
        assert len({error.code for error in raised}) == len(raised)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error):
    """An error that crosses processes has the same type, message and data."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_messages_fit_a_log_line(error):
    """A message is one line without a full stop, so that it fits into a log line."""
    message = str(error)
    assert message
    assert "\n" not in message
    assert not message.endswith(".")
