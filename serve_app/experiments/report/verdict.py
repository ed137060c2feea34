"""The verdict as a headline and a colour, with its reasons and its consequence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from serve_app.experiments.decision import Action
from serve_app.experiments.definition import EndReason
from serve_app.experiments.history import StoredExperiment
from serve_app.experiments.report import wording


class Tone(StrEnum):
    """The appearance of the verdict's box; the values are classes of the style sheet."""

    GOOD = "good"
    BAD = "bad"
    WAITING = "waiting"
    BROKEN = "broken"


SIGNS = {
    Tone.GOOD: "\N{CHECK MARK}",
    Tone.BAD: "\N{MULTIPLICATION X}",
    Tone.WAITING: "\N{HORIZONTAL ELLIPSIS}",
    Tone.BROKEN: "!",
}
"""The character of each tone, so that the tone does not depend on the colour alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The content of the box at the top of the report."""

    tone: Tone
    headline: str
    meaning: str
    """The explanation for readers without a background in statistics."""
    reasons: tuple[str, ...]
    outcome: str
    """The progress or the end of the experiment."""

    @property
    def sign(self) -> str:
        """Return the character of the tone."""
        return SIGNS[self.tone]


def verdict(experiment: StoredExperiment, document: Mapping[str, Any], now: datetime) -> Verdict:
    """Return the verdict on an experiment.

    Args:
        experiment: the experiment and its status.
        document: the analysis that the report shows.
        now: the time of the report.
    """
    tone, headline, meaning = _conclusion(experiment, document)
    return Verdict(
        tone=tone,
        headline=headline,
        meaning=meaning,
        reasons=tuple(str(reason) for reason in document["recommendation"]["reasons"]),
        outcome=_outcome(experiment, now),
    )


def _conclusion(experiment: StoredExperiment, document: Mapping[str, Any]) -> tuple[Tone, str, str]:
    """Return the tone, the headline and the explanation of the verdict."""
    control, treatment = experiment.definition.control, experiment.definition.treatment
    ended = experiment.ended_at is not None
    if document["sample_ratio"]["healthy"] is False:
        return (
            Tone.BROKEN,
            "No verdict: the traffic was not split as intended",
            "The two versions did not receive the requests that they should have received. Do not "
            "base a decision on any figure of this page until the cause is found.",
        )
    action = Action(document["recommendation"]["action"])
    if action is Action.PROMOTE:
        return (
            Tone.GOOD,
            f"{treatment} is better: promote it",
            "It is correct more often, by more than chance can explain; it is not too slow, and it "
            "does not fail too often.",
        )
    if action is Action.ROLLBACK:
        return (
            Tone.BAD,
            f"{treatment} is worse than allowed: roll it back",
            f"It violates a limit of the experiment by more than chance can explain. {control} "
            f"should serve all requests.",
        )
    outcomes = (document.get("units") or {}).get("outcomes_each")
    if outcomes and not outcomes["healthy"]:
        return (
            Tone.BROKEN,
            "No verdict: outcomes of one version are missing",
            "Outcomes arrive for different shares of the two versions' predictions. Do not base a "
            "decision on their accuracy and returns until the cause is found.",
        )
    if ended:
        return (
            Tone.WAITING,
            f"No significant difference: {control} stays in use",
            "The experiment has ended without enough evidence that the new version is better or "
            "worse. This does not mean that the two are equal.",
        )
    return (
        Tone.WAITING,
        "No verdict yet: let the experiment continue",
        "There is not yet enough evidence that the new version is better or worse. This is not a "
        "bad sign: only more predictions can rule out chance.",
    )


def _outcome(experiment: StoredExperiment, now: datetime) -> str:
    definition, started_at = experiment.definition, experiment.started_at
    if experiment.ended_at is None:
        age = wording.duration((now - started_at).total_seconds())
        planned = wording.duration(definition.duration_s)
        applied = (
            "A verdict will be applied automatically."
            if definition.auto_apply
            else "A verdict will not be applied automatically: promote or roll back manually."
        )
        return f"The experiment has been running for {age} of the planned {planned}. {applied}"
    length = wording.duration((experiment.ended_at - started_at).total_seconds())
    how = {
        EndReason.STOPPED: "It was stopped manually",
        EndReason.DURATION: "It ended as planned",
        EndReason.PROMOTED: f"It ended when {definition.treatment} was promoted",
        EndReason.ROLLED_BACK: f"It ended when {definition.treatment} was rolled back",
        EndReason.SUPERSEDED: "It ended because another version had been promoted to production",
        None: "It ended",
    }[experiment.end_reason]
    return f"{how} on {wording.moment(experiment.ended_at)}, after {length}."
