"""The docstrings under the fields of a class, which Python does not retain."""

import ast
import inspect
import itertools
import textwrap


def field_docs(model: type) -> dict[str, str]:
    """Return the docstring under each field of a class and of its bases, by the field's name."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.split(".")[0] in {"builtins", "pydantic"}:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue
        tree = ast.parse(source).body[0]
        assert isinstance(tree, ast.ClassDef)
        found |= _docs_of(tree.body)
    return found


def _docs_of(body: list[ast.stmt]) -> dict[str, str]:
    found = {}
    for field, doc in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(doc, ast.Expr)
            and isinstance(doc.value, ast.Constant)
            and isinstance(doc.value.value, str)
        ):
            found[field.target.id] = inspect.cleandoc(doc.value.value)
    return found
