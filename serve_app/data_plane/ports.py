"""The protocols through which the data plane reaches the rest of the system."""

from typing import Protocol

from serve_app.experiments.records import PredictionRecord


class PredictionRecorder(Protocol):
    """Records predictions; never waits and never raises."""

    def record(self, record: PredictionRecord) -> None:
        """Record a prediction."""


class StateConfirmation(Protocol):
    """Reports whether this router follows the current serving state."""

    confirmed: bool
    """Whether the router may serve."""

    async def confirm(self) -> None:
        """Return once the router may serve; raise UnconfirmedStateError if it may not."""


class OnDemandLoader(Protocol):
    """Loads registered versions that the configuration does not declare."""

    async def request(self, model: str, version: str) -> None:
        """Start to load a version, unless that has started already.

        Raises:
            NotRegisteredError: the registry has no such model or version.
            TooManyVersionsError: the limit of versions loaded on demand is reached.
            UnusableVersionError: a recent attempt to load the version failed.
        """
