"""What is written down of experiments and outcomes, as values; `experiments.store` keeps them.

Apart from the store, since routers and the fleet need these and no database.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.records import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Something that happened to an experiment."""

    time: datetime
    action: str
    """One word, such as `created`, `exposed`, `promoted`, `rolled_back`, `stopped`."""
    details: dict[str, Any]
    """JSON values: the analysis that it rests on, who asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExperiment:
    """An experiment and how far it has come."""

    definition: ExperimentDefinition
    status: ExperimentStatus
    started_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    final_report: dict[str, Any] | None
    """The analysis at the end, JSON values."""

    @property
    def clock(self) -> BlockClock:
        """Which block of the summaries a time falls into."""
        return BlockClock.of(self.definition, self.started_at)


class OutcomeResult(Enum):
    """What became of an outcome."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The same return is stored already."""
    CONFLICT = "conflict"
    """Another return is stored already, and stands."""
    UNKNOWN = "unknown"
    """No such prediction is stored."""


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """An outcome as it came, what became of it, and the return that is stored under its id."""

    outcome: Outcome
    result: OutcomeResult
    stored_return: float | None
    """None where the prediction is unknown."""
