"""The error tree that a module's docstring draws, and the one that its classes form.

The tree is drawn with the box characters of `tree`: one class per line, followed by its purpose:

    ServingError
    ├── RequestError              the request is invalid
    │   └── MalformedJsonError    the body is not JSON
    └── UnavailableError          a later attempt may succeed

A test compares the two: `assert drawn_tree(errors) == defined_tree(errors)`.
"""

import inspect
import re
from collections.abc import Set
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple


class Edge(NamedTuple):
    """A class of a tree and the class that it derives from."""

    name: str
    base: str | None
    """None for the root of a tree."""


_ROOT = re.compile(r"^(?P<indent> *)(?P<name>[A-Z]\w*)$")
_BRANCH = re.compile(r"^(?P<indent>[ │]*[├└]─+ *)(?P<name>[A-Z]\w*)(?: .*)?$")


def drawn_tree(module: ModuleType) -> Set[Edge]:
    """Return the edges of every tree that a module's docstring draws."""
    edges: set[Edge] = set()
    above: list[tuple[int, str]] = []
    lines = [*inspect.cleandoc(module.__doc__ or "").splitlines(), ""]
    for line, following in pairwise(lines):
        branch = _BRANCH.match(line)
        root = _ROOT.match(line) if _BRANCH.match(following) else None
        match = branch or root
        if match is None:
            above = []
            continue
        column, name = len(match["indent"]), match["name"]
        above = [(left, base) for left, base in above if left < column]
        edges.add(Edge(name, above[-1][1] if above else None))
        above.append((column, name))
    return edges


def defined_tree(module: ModuleType) -> Set[Edge]:
    """Return the edges of the exception classes that a module, or the modules of a package, define.

    A class whose bases all lie elsewhere is the root of a tree.
    """
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]
    edges: set[Edge] = set()
    for error in classes:
        bases = [base.__name__ for base in error.__bases__ if base in classes]
        edges |= {Edge(error.__name__, base) for base in bases}
        if not bases:
            edges.add(Edge(error.__name__, None))
    return edges


def leaves(error: type[BaseException]) -> list[type[BaseException]]:
    """Return the classes below `error` that no class derives from; `error` itself if it is one.

    Classes of other projects do not count: Ray derives its own from each error it has seen raised.
    """
    project = error.__module__.partition(".")[0]
    below = [
        child for child in error.__subclasses__() if child.__module__.partition(".")[0] == project
    ]
    return [leaf for child in below for leaf in leaves(child)] if below else [error]
