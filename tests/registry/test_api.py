"""The interface of a registry and its implementations."""

import inspect

import pytest

from registry import ModelRegistry
from registry.api import CHANGES, READS, Access, RegistryApi, access_of, change, read


def public_methods(implementation):
    members = inspect.getmembers(implementation, inspect.isfunction)
    return {name: member for name, member in members if not name.startswith("_")}


METHODS = public_methods(RegistryApi)


def test_every_method_has_one_marker():
    """Every method is either a change or a read; a second marker is an error."""
    assert set(METHODS) == CHANGES | READS
    assert not CHANGES & READS
    assert all(isinstance(access_of(method), Access) for method in METHODS.values())
    with pytest.raises(TypeError, match="marked twice"):
        read(change(lambda registry: None))


def test_changes_take_author_and_reason():
    """Exactly the changes take `by` and `reason`."""
    for name, method in METHODS.items():
        keywords = {"by", "reason"} & set(inspect.signature(method).parameters)
        assert keywords == ({"by", "reason"} if name in CHANGES else set()), name


def test_model_registry_implements_the_interface():
    """ModelRegistry has exactly the methods of the interface, with their signatures."""
    methods = public_methods(ModelRegistry)
    assert methods.keys() == METHODS.keys()
    for name, method in methods.items():
        assert inspect.signature(method) == inspect.signature(METHODS[name]), name
        assert method.__qualname__ == f"ModelRegistry.{name}"


def test_every_method_is_documented():
    """The documentation of a method is found on the implementation, too."""
    for name in METHODS:
        assert inspect.getdoc(getattr(ModelRegistry, name)), name
