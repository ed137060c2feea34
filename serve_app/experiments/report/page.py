"""Renders the report: analysis, texts and plots on one page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.decision import Action
from serve_app.experiments.definition import SERVED
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.report import plots, wording
from serve_app.experiments.report.tables import checks, key_figures, tiles
from serve_app.experiments.report.timeline import moments, profits
from serve_app.experiments.report.verdict import verdict
from serve_app.experiments.summary import VariantSummary

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,  # regardless of the template's file name
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

ACTIONS = {
    "created": "Created",
    "exposed": "Treatment's share of the traffic changed",
    "promoting": "Promotion started",
    "promoted": "Treatment promoted",
    "superseded": "Treatment not promoted: another version was in production",
    "rolled_back": "Treatment rolled back",
    "stopped": "Stopped manually",
    "ended": "Planned end reached",
}
"""The labels of the history's actions; any other action is shown by its name."""


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the history."""

    time: str
    what: str
    notes: tuple[str, ...]
    data: str
    """The details of the entry as JSON; empty without any."""


def render_page(
    experiment: StoredExperiment,
    history: Sequence[HistoryEntry],
    blocks: Sequence[Block],
    now: datetime,
) -> str:
    """Return the report; see `serve_app.experiments.report.render_report`."""
    definition, started_at = experiment.definition, experiment.started_at
    clock = BlockClock.of(definition, started_at)
    present = analyse(definition, clock, blocks, status=experiment.status).document
    document = present if experiment.final_report is None else experiment.final_report
    bounds = document["statistical_significance"]["interval"]
    timeline = moments(definition, clock, blocks)
    control = VariantSummary().merge(*(block.control for block in blocks))
    treatment = VariantSummary().merge(*(block.treatment for block in blocks))
    return _TEMPLATES.get_template("page.html.jinja").render(
        words=wording,
        made=wording.moment(now),
        experiment=experiment,
        definition=definition,
        document=document,
        verdict=verdict(experiment, document, now),
        tiles=tiles(definition, document),
        progress=_progress(experiment, document, now),
        how_split=wording.how_split(definition),
        served=SERVED.get(definition.assignment),
        figures=key_figures(definition, document),
        checks=checks(definition, document),
        arrived_later=_labelled(present) - _labelled(document),
        effect=plots.effect_over_time(
            definition, timeline, started_at, None if bounds is None else (bounds[0], bounds[1])
        ),
        profit=plots.profit_over_time(*profits(started_at, blocks), timeline, started_at),
        latency=plots.latencies(control, treatment),
        share=plots.share_over_time(timeline, started_at, SERVED.get(definition.assignment)),
        has_slack=any(moment.share_slack is not None for moment in timeline),
        events=[_event(entry) for entry in history],
    )


def _labelled(document: Mapping[str, Any]) -> int:
    return int(document["control"]["labelled"] + document["treatment"]["labelled"])


def _progress(
    experiment: StoredExperiment, document: Mapping[str, Any], now: datetime
) -> list[tuple[str, str, float]]:
    """Return (name, text, share reached) for each condition that the experiment waits for."""
    definition = experiment.definition
    age_s = ((experiment.ended_at or now) - experiment.started_at).total_seconds()
    fewest = min(document["control"]["labelled"], document["treatment"]["labelled"])
    planned = document["statistical_significance"]["planned_samples"]
    steps = [
        (
            "Time",
            f"{wording.duration(age_s)} of {wording.duration(definition.duration_s)} planned",
            age_s / definition.duration_s,
        )
    ]
    needed = f"{definition.min_samples:,} required for a verdict on quality"
    share = fewest / definition.min_samples
    steps.append(("Outcomes per version", f"{fewest:,} so far, {needed}", share))
    units = document.get("units")  # absent from reports of earlier releases
    if units:
        needed = f"{units['needed']:g} required for a verdict on quality"
        effective = min(units[variant]["effective"] for variant in ("control", "treatment"))
        steps.append(
            (
                f"Effective number of {units['served']} per version",
                f"{wording.tenths(effective)} so far, {needed}",
                effective / units["needed"],
            )
        )
    elif document["recommendation"]["action"] == Action.CONTINUE:
        needed = f"about {planned:,} usually required to detect the required improvement"
        share = fewest / planned
        steps.append(("Outcomes for a conclusive result", f"{fewest:,} so far, {needed}", share))
    return [(name, text, min(1.0, max(0.0, share))) for name, text, share in steps]


def _event(entry: HistoryEntry) -> Event:
    what = ACTIONS.get(entry.action, entry.action.replace("_", " ").capitalize())
    notes = [
        f"{name.replace('_', ' ')}: {_detail(name, value)}"
        for name, value in entry.details.items()
        if isinstance(value, str | int | float | bool)
    ]
    notes += _reasons(entry.details)
    data = json.dumps(entry.details, indent=2, ensure_ascii=False) if entry.details else ""
    return Event(wording.moment(entry.time), what, tuple(notes), data)


def _detail(name: str, value: object) -> str:
    """Return a detail as text, shares of an exposure step in per cent."""
    if name in ("share", "before") and isinstance(value, float):
        return wording.percent(value, 0 if value >= 0.1 else 1)
    return str(value)


def _reasons(details: Mapping[str, Any]) -> list[str]:
    """Return the reasons of an analysis in the details, or one level below."""
    for value in (details, *details.values()):
        advice = value.get("recommendation") if isinstance(value, Mapping) else None
        if isinstance(advice, Mapping) and isinstance(advice.get("reasons"), list):
            return [str(reason) for reason in advice["reasons"]]
    return []
