"""The page on errors: every code with its status, class and meaning."""

import inspect
from collections.abc import Iterator

import features.datasets.errors
import features.errors
import optimization.errors
import registry.errors
import serve_app.errors
import serve_app.launch.errors
from serve_app.api.rest.errors import STATUS
from tools.reference.markdown import code, table

TREES = (
    ("serve_app.errors", serve_app.errors.ServingError),
    ("serve_app.launch.errors", serve_app.launch.errors.LaunchError),
    ("registry.errors", registry.errors.RegistryError),
    ("features.errors", features.errors.FeaturesError),
    ("features.datasets.errors", features.datasets.errors.DatasetError),
    ("optimization.errors", optimization.errors.OptimizationError),
)


def page() -> str:
    """Return the page."""
    parts = [
        "# Errors\n",
        "An error response of the server has the body "
        '`{"error": {"code": …, "message": …, …}}`; the further fields are the facts of the error. '
        "Programs should depend on the code, never on the message. Status 503 and 504 "
        "come with `Retry-After`.\n",
        "## Over HTTP\n",
        table(("Status", "Code", "Class", "Meaning"), http_rows()),
    ]
    for module, root in TREES:
        parts += [f"## {module}\n", table(("Class", "Base", "Meaning"), class_rows(module, root))]
    return "\n".join(parts)


def http_rows() -> list[list[str]]:
    """Return a row per error that a client may receive, by status and code."""
    known = sorted(STATUS.items(), key=lambda entry: (entry[1], entry[0].code))
    return [
        [str(status), code(error.code), code(error.__name__), summary(error)]
        for error, status in known
    ]


def class_rows(module: str, root: type[Exception]) -> list[list[str]]:
    """Return a row per class of a tree that its module or package defines, the bases first."""
    return [
        [code(error.__name__), code(error.__bases__[0].__name__), summary(error)]
        for error in tree(root)
        if f"{error.__module__}.".startswith(f"{module}.")
    ]


def tree(root: type[Exception]) -> Iterator[type[Exception]]:
    """Yield a class and everything derived from it, depth first, in the order of definition."""
    yield root
    for derived in root.__subclasses__():
        yield from tree(derived)


def summary(error: type[Exception]) -> str:
    """Return the first sentence of a class's docstring."""
    return (inspect.getdoc(error) or "").split("\n\n")[0]
