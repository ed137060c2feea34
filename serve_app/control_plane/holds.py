"""Versions that stay loaded temporarily, although they receive no requests."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from serve_app.versions import VersionRef


class Holds:
    """Counts the commands that need a version."""

    def __init__(self) -> None:
        self._counts: Counter[VersionRef] = Counter()

    @contextmanager
    def holding(self, *refs: VersionRef) -> Iterator[None]:
        """Keep these versions from being unloaded as idle."""
        self._counts.update(refs)
        try:
            yield
        finally:
            self._counts.subtract(refs)

    @property
    def refs(self) -> frozenset[VersionRef]:
        """Return the versions that are held."""
        return frozenset(ref for ref, count in self._counts.items() if count > 0)
