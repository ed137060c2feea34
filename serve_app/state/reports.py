"""What a router reports of the versions it can reach. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reach:
    """What one router knows of one version."""

    loaded: bool
    """Whether it can answer there, with the settings of the state that the router holds."""
    problem: str | None
    """Why it never will be."""
    idle_s: float
    """How long nobody asked for it there."""


@dataclass(frozen=True, slots=True)
class RouterReport:
    """The state that one router follows, and the versions that it reaches."""

    router: str
    """The id of the router's replica."""
    revision: int
    """The revision of the state that it follows."""
    versions: Mapping[str, Reach]
    """By `model:version`."""
    tripped: frozenset[str] = frozenset()
    """Experiments whose treatment this router has taken out."""
