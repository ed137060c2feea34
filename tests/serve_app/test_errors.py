"""The error tree and its table of HTTP statuses."""

import pickle

import pytest

from serve_app import errors
from serve_app.api.rest.errors import STATUS, body_of, headers_of
from testkit.error_trees import defined_tree, drawn_tree
from tests.serve_app.error_examples import EXAMPLES


def test_the_drawn_tree_is_the_defined_one():
    """The tree in the module's docstring holds exactly the classes of the module."""
    assert drawn_tree(errors) == defined_tree(errors)


def leaves(tree):
    # Ray derives classes of its own from those that it has seen raised.
    below = [each for each in tree.__subclasses__() if each.__module__ == errors.__name__]
    nested = [leaf for each in below for leaf in leaves(each)]
    return nested if below else [tree]


def test_every_leaf_has_an_example_here():
    assert set(leaves(errors.ServingError)) <= {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_every_error_that_a_request_can_meet_has_a_status_and_a_code():
    startup = {
        errors.SettingsError,
        errors.ServingStateError,
        errors.ServedElsewhereError,
    }
    not_on_the_wire = {*startup, *leaves(errors.ClientError)}
    on_the_wire = set(leaves(errors.ServingError)) - not_on_the_wire
    assert on_the_wire | {errors.InvalidRequestError} == set(STATUS)
    codes = [each.code for each in leaves(errors.ServingError)]
    assert len(codes) == len(set(codes))


def test_the_body_of_an_error_has_its_facts():
    error = errors.NotServedError("m", "1.0.0", ["m:2.0.0"])
    assert body_of(error) == {
        "code": "not_served",
        "message": "m:1.0.0 is not served here; served: m:2.0.0",
        "model": "m",
        "version": "1.0.0",
        "served": ("m:2.0.0",),
    }


def test_only_what_passes_says_when_to_retry():
    assert headers_of(errors.VersionLoadingError("m", "1.0.0")) == {"Retry-After": "1"}
    assert headers_of(errors.MalformedJsonError("x")) == {}
