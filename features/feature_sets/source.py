"""The digest of a feature set's source, by which a changed feature set is recognised.

The digest covers the module that the entry point names, and every module of the same top-level
package that it imports by an `import` statement, directly or through another covered module,
wherever the statement stands. It covers the whole text of these modules, comments included; line
ends count as `\\n`.

It does not cover other packages, such as NumPy, TA-Lib or this one, modules that are imported by a
computed name, packages that are imported only because a module lies in them, and data files.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from features.errors import UnreadableSourceError


@dataclass(frozen=True, slots=True)
class SourceDigest:
    """The digest of a module and of those that it imports from its own package."""

    sha256: str
    """The digest, in hexadecimal digits."""
    modules: tuple[str, ...]
    """The names of the covered modules in alphabetical order."""


def digest_source(module: str) -> SourceDigest:
    """Return the digest of a module and of what it imports from its own package.

    Nothing is imported for it.

    Raises:
        UnreadableSourceError: the module is not installed, or a file cannot be read or parsed.
    """
    contents: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in contents:
            continue
        spec = _find_spec(name)
        if spec is None:
            if name == module:
                raise UnreadableSourceError(name, "it is not installed")
            continue  # a name inside a module, or an import that is never executed
        contents[name] = _read(name, spec)
        if spec.origin is not None and spec.origin.endswith(".py"):
            waiting += _imports(name, spec, contents[name])
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name} {len(contents[name])}\n".encode())
        digest.update(contents[name])
    return SourceDigest(digest.hexdigest(), tuple(sorted(contents)))


def _find_spec(name: str) -> ModuleSpec | None:
    """Return the spec of a module without importing anything."""
    top, *parts = name.split(".")
    loaded = sys.modules.get(top)
    spec = find_spec(top) if loaded is None else loaded.__spec__
    for depth in range(1, len(parts) + 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        locations: Sequence[str] = list(spec.submodule_search_locations)
        spec = PathFinder.find_spec(".".join([top, *parts[:depth]]), locations)
    return spec


def _read(name: str, spec: ModuleSpec) -> bytes:
    if spec.origin is None:  # a namespace package has no file
        return b""
    try:
        content = Path(spec.origin).read_bytes()
    except OSError as error:
        raise UnreadableSourceError(name, str(error)) from error
    if not spec.origin.endswith(".py"):
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _imports(name: str, spec: ModuleSpec, content: bytes) -> Iterator[str]:
    """Yield the names of the own package that a module may import."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        raise UnreadableSourceError(name, str(error)) from error
    top = name.partition(".")[0]
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, base] if base else kept)
            found = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for imported in found:
            if imported.partition(".")[0] == top:
                yield imported
