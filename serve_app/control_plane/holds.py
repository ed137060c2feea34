"""Versions that stay loaded for the time being, although they receive no requests."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Holds:
    """Counts the commands that need a version."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextmanager
    def holding(self, *keys: str) -> Iterator[None]:
        """Keep these versions from being unloaded as idle."""
        self._counts.update(keys)
        try:
            yield
        finally:
            self._counts.subtract(keys)

    @property
    def keys(self) -> frozenset[str]:
        """Return the versions that are held."""
        return frozenset(key for key, count in self._counts.items() if count > 0)
