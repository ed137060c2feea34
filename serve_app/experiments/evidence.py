"""All that a report of an experiment is made of, as one JSON document and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.summary import PairSummary, VariantSummary
from serve_app.experiments.units import UnitTotals


@dataclass(frozen=True, slots=True)
class ExperimentEvidence:
    """An experiment, what happened to it, and its predictions summed up by block of time."""

    experiment: StoredExperiment
    history: Sequence[HistoryEntry]
    blocks: Sequence[Block]

    def to_document(self) -> dict[str, Any]:
        """Return JSON values, but for times, which are datetimes."""
        stored = self.experiment
        return {
            "experiment": {
                "definition": stored.definition.model_dump(mode="json"),
                "status": stored.status.value,
                "started_at": stored.started_at,
                "ended_at": stored.ended_at,
                "end_reason": None if stored.end_reason is None else stored.end_reason.value,
                "final_report": stored.final_report,
            },
            "history": [
                {"time": each.time, "action": each.action, "details": each.details}
                for each in self.history
            ],
            "blocks": [
                {
                    "block": each.block,
                    "control": each.control.to_dict(),
                    "treatment": each.treatment.to_dict(),
                    "pairs": each.pairs.to_dict(),
                    "units": each.units and each.units.to_dict(),
                }
                for each in self.blocks
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "ExperimentEvidence":
        """Return what `to_document` gave, after it was JSON.

        Raises:
            KeyError, TypeError, ValueError: it is something else, or from newer software.
        """
        stored = document["experiment"]
        return cls(
            StoredExperiment(
                definition=ExperimentDefinition.model_validate(stored["definition"]),
                status=ExperimentStatus(stored["status"]),
                started_at=datetime.fromisoformat(stored["started_at"]),
                ended_at=stored["ended_at"] and datetime.fromisoformat(stored["ended_at"]),
                end_reason=stored["end_reason"] and EndReason(stored["end_reason"]),
                final_report=stored["final_report"],
            ),
            [
                HistoryEntry(
                    time=datetime.fromisoformat(each["time"]),
                    action=each["action"],
                    details=each["details"],
                )
                for each in document["history"]
            ],
            [
                Block(
                    block=each["block"],
                    control=VariantSummary.from_dict(each["control"]),
                    treatment=VariantSummary.from_dict(each["treatment"]),
                    pairs=PairSummary.from_dict(each["pairs"]),
                    units=each["units"] and UnitTotals.from_dict(each["units"]),
                )
                for each in document["blocks"]
            ],
        )
