"""The content of an experiment's report, as one JSON document and back."""

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
    """An experiment, its history, and the summaries of its predictions by block of time."""

    experiment: StoredExperiment
    history: Sequence[HistoryEntry]
    blocks: Sequence[Block]

    def to_document(self) -> dict[str, Any]:
        """Return JSON values, except that times are datetimes."""
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
                {"time": entry.time, "action": entry.action, "details": entry.details}
                for entry in self.history
            ],
            "blocks": [
                {
                    "block": block.block,
                    "control": block.control.to_dict(),
                    "treatment": block.treatment.to_dict(),
                    "pairs": block.pairs.to_dict(),
                    "units": block.units and block.units.to_dict(),
                }
                for block in self.blocks
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "ExperimentEvidence":
        """Return the evidence that `to_document` returned, after its conversion to JSON.

        Raises:
            KeyError, TypeError, ValueError: the document is of another kind, or newer software
                wrote it.
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
                    time=datetime.fromisoformat(entry["time"]),
                    action=entry["action"],
                    details=entry["details"],
                )
                for entry in document["history"]
            ],
            [
                Block(
                    block=block["block"],
                    control=VariantSummary.from_dict(block["control"]),
                    treatment=VariantSummary.from_dict(block["treatment"]),
                    pairs=PairSummary.from_dict(block["pairs"]),
                    units=block["units"] and UnitTotals.from_dict(block["units"]),
                )
                for block in document["blocks"]
            ],
        )
