"""The verdict in one line and a colour, and what came of it."""

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
    """How the box looks; the values are classes of the style sheet."""

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
"""So that the tone does not hang on the colour alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the box on top says."""

    tone: Tone
    headline: str
    meaning: str
    """What it means for someone who knows no statistics."""
    reasons: tuple[str, ...]
    outcome: str
    """What was done about it."""

    @property
    def sign(self) -> str:
        """A character that stands for the tone."""
        return SIGNS[self.tone]


def verdict(experiment: StoredExperiment, document: Mapping[str, Any], now: datetime) -> Verdict:
    """Return the verdict on an experiment.

    Args:
        experiment: how it stands.
        document: the analysis that the report shows.
        now: the present.
    """
    tone, headline, meaning = _judged(experiment, document)
    return Verdict(
        tone=tone,
        headline=headline,
        meaning=meaning,
        reasons=tuple(str(each) for each in document["recommendation"]["reasons"]),
        outcome=_outcome(experiment, now),
    )


def _judged(experiment: StoredExperiment, document: Mapping[str, Any]) -> tuple[Tone, str, str]:
    control, treatment = experiment.definition.control, experiment.definition.treatment
    ended = experiment.ended_at is not None
    if document["sample_ratio"]["healthy"] is False:
        return (
            Tone.BROKEN,
            "No verdict: the traffic was not split as intended",
            "The two versions did not get the requests they should have. Until the cause is found "
            "no figure on this page should be used to decide anything.",
        )
    action = Action(document["recommendation"]["action"])
    if action is Action.PROMOTE:
        return (
            Tone.GOOD,
            f"{treatment} is better: promote it",
            "It is right more often, by more than chance explains, and it is neither too slow nor "
            "does it fail too often.",
        )
    if action is Action.ROLLBACK:
        return (
            Tone.BAD,
            f"{treatment} does harm: roll it back",
            f"It is shown to be worse than is allowed, by more than chance explains. {control} "
            f"should answer alone.",
        )
    outcomes = (document.get("units") or {}).get("outcomes_each")
    if outcomes and not outcomes["healthy"]:
        return (
            Tone.BROKEN,
            "No verdict: one version lacks outcomes",
            "The two versions do not have equally many outcomes to be judged by. Until the cause "
            "is found their accuracy and returns should not be used to decide anything.",
        )
    if ended:
        return (
            Tone.WAITING,
            f"No winner was found: {control} stays",
            "The experiment is over, and what it saw is not enough to call the new version better "
            "or harmful. That does not prove that the two are equal.",
        )
    return (
        Tone.WAITING,
        "No verdict yet: let the experiment go on",
        "What has been seen so far is not enough to call the new version better or harmful. "
        "That is no bad sign: chance is only ruled out by more predictions.",
    )


def _outcome(experiment: StoredExperiment, now: datetime) -> str:
    definition, started_at = experiment.definition, experiment.started_at
    if experiment.ended_at is None:
        age = wording.duration((now - started_at).total_seconds())
        planned = wording.duration(definition.duration_s)
        applied = (
            "A verdict will be carried out by itself."
            if definition.auto_apply
            else "A verdict will not be carried out by itself: someone has to do it."
        )
        return f"The experiment has been running for {age} of {planned} planned. {applied}"
    length = wording.duration((experiment.ended_at - started_at).total_seconds())
    how = {
        EndReason.STOPPED: "It was stopped by hand",
        EndReason.DURATION: "It ended as planned",
        EndReason.PROMOTED: f"It ended when {definition.treatment} was promoted",
        EndReason.ROLLED_BACK: f"It ended when {definition.treatment} was rolled back",
        EndReason.SUPERSEDED: "It ended when another version had come into production",
        None: "It ended",
    }[experiment.end_reason]
    return f"{how} on {wording.moment(experiment.ended_at)}, after {length}."
