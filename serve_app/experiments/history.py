"""Experiments, their events and outcomes as stored values; `experiments.store` stores them.

They are separate from the store because routers and the fleet need them without a database.
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
    """An event in the history of an experiment."""

    time: datetime
    action: str
    """The kind of event: `created`, `exposed`, `promoted`, `rolled_back`, `stopped`, …"""
    details: dict[str, Any]
    """JSON values, such as the analysis that caused the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExperiment:
    """An experiment and its progress."""

    definition: ExperimentDefinition
    status: ExperimentStatus
    started_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    final_report: dict[str, Any] | None
    """The final analysis as JSON values; None while the experiment runs."""

    @property
    def clock(self) -> BlockClock:
        """The clock that maps a time to a block of the summaries."""
        return BlockClock.of(self.definition, self.started_at)


class OutcomeResult(Enum):
    """The result of recording an outcome."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The same return was already stored."""
    CONFLICT = "conflict"
    """A different return was already stored, and is kept."""
    UNRECORDED = "unrecorded"
    """The prediction was served, but is not stored."""
    UNKNOWN = "unknown"
    """No prediction with that id was served."""


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """An outcome as received, the result of recording it, and the return stored for its id."""

    outcome: Outcome
    result: OutcomeResult
    stored_return: float | None
    """The stored return; None if the prediction is not stored."""
