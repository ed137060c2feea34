"""The reports of the routers: the state they follow and the versions they reach. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.versions import VersionRef


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether one router reaches one version."""

    loaded: bool
    """Whether the version responds there with the settings of the state that the router follows."""
    problem: str | None
    """Why it cannot be loaded there; None while it is loaded or may still load."""
    idle_s: float
    """Time since its last request there."""


@dataclass(frozen=True, slots=True)
class RouterReport:
    """The state that one router follows, and the versions that it reaches."""

    router: str
    """The id of the router's replica."""
    revision: int
    """The revision of the state that it follows."""
    versions: Mapping[VersionRef, Reach]
    """The reach of every version of that state."""
    tripped: frozenset[str] = frozenset()
    """The experiments in which this router's circuit breaker withholds traffic from treatment."""
