"""Harm that begins late: the guardrails over the last minute, in addition to the whole duration.

Over the whole duration of an experiment, a failure that begins after a day is diluted by the day
without failures, and blocks are minutes long by then. The last minute is therefore also kept second
by second, in memory. A window begins every STEP_S and lasts WINDOW_S. Each window has its own test
that is always valid within it, and the number of windows is known in advance: they share the part
RECENT_SHARE of the level equally (Bonferroni).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.guardrails import Guardrail, Harm, error_harm, latency_harm
from serve_app.experiments.records import PredictionRecord, Variant
from serve_app.experiments.table import tabulate

WINDOW_S = 60
STEP_S = 10
RECENT_SHARE = 0.25
"""The part of the guardrails' level that is spent on the last minute."""


@dataclass(frozen=True, slots=True)
class Window:
    """The traffic since `start_s`, at most WINDOW_S ago; block keys are seconds since then."""

    start_s: int
    blocks: Sequence[Block]


class RecentTraffic:
    """An experiment's predictions of the last minute, by second.

    They are kept in memory only: after a restart they are complete again one minute later.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, Block] = {}
        self._unpaired: dict[str, PredictionRecord] = {}
        """The first record of each mirrored request whose second one is missing, by prediction."""

    @property
    def kept_seconds(self) -> int:
        """The number of seconds that are kept."""
        return len(self._seconds)

    @property
    def incomplete_pairs(self) -> int:
        """The number of mirrored requests with only one record."""
        return len(self._unpaired)

    def add(self, record: PredictionRecord) -> None:
        """Count a prediction that was committed to the store."""
        second = math.floor(record.time.timestamp())
        if second not in self._seconds:
            self._forget(max([second, *self._seconds]))
        block = self._seconds.setdefault(second, Block(block=second))
        variant = block.treatment if record.variant is Variant.TREATMENT else block.control
        variant.add_prediction(record)
        if record.mirrored:
            self._pair(record, block)

    def windows(self, now_s: float) -> list[Window]:
        """Return the current windows, the oldest first, as copies of the state."""
        first_s = _first_start_s(now_s)
        copies = [
            (second, block.control.copy(), block.treatment.copy(), block.pairs.copy())
            for second, block in self._seconds.items()
            if second >= first_s
        ]
        return [
            Window(
                start_s,
                [
                    Block(block=second - start_s, control=control, treatment=treatment, pairs=pairs)
                    for second, control, treatment, pairs in copies
                    if second >= start_s
                ],
            )
            for start_s in range(first_s, math.floor(now_s) + 1, STEP_S)
        ]

    def is_over(self, now_s: float) -> bool:
        """Return whether nothing of it is in a current window."""
        return max(self._seconds, default=0) < _first_start_s(now_s)

    def _pair(self, record: PredictionRecord, block: Block) -> None:
        """Count a mirrored request once both of its records, which have equal times, are known."""
        other = self._unpaired.pop(record.prediction_id, record)
        variants = {known.variant: known for known in (other, record)}
        if len(variants) == 1:
            self._unpaired[record.prediction_id] = record
        else:
            block.pairs.add_predictions(variants[Variant.CONTROL], variants[Variant.TREATMENT])

    def _forget(self, now_s: float) -> None:
        """Remove everything older than the oldest window."""
        oldest_s = _first_start_s(now_s)
        self._seconds = {
            second: block for second, block in self._seconds.items() if second >= oldest_s
        }
        self._unpaired = {
            prediction_id: record
            for prediction_id, record in self._unpaired.items()
            if record.time.timestamp() >= oldest_s
        }


def _first_start_s(now_s: float) -> int:
    """Return the start of the oldest window that has not ended."""
    return math.floor((now_s - WINDOW_S) / STEP_S + 1) * STEP_S


def with_recent(
    definition: ExperimentDefinition,
    whole: tuple[Guardrail, Guardrail],
    windows: Sequence[Window],
    alpha: float,
) -> tuple[Guardrail, Guardrail]:
    """Return the guardrails of latency and errors, combined with the evidence of the last minute.

    Args:
        definition: the experiment, for the limits and for its duration, which determines the number
            of windows.
        whole: both guardrails over the whole duration.
        windows: the current windows.
        alpha: level of each guardrail.
    """
    cost = (math.ceil(definition.duration_s / STEP_S) + WINDOW_S // STEP_S) / RECENT_SHARE
    tables = [
        tabulate(definition, BlockClock(window.start_s, 1.0), window.blocks) for window in windows
    ]
    latency, errors = whole
    return (
        _stronger(latency, [latency_harm(definition, t, alpha / cost) for t in tables], cost),
        _stronger(errors, [error_harm(definition, t, alpha / cost) for t in tables], cost),
    )


def _stronger(whole: Guardrail, recent: Sequence[Harm], cost: float) -> Guardrail:
    """Return the guardrail with the stronger evidence of harm, corrected for testing both."""
    over_all = min(1.0, whole.harm_p_value / (1 - RECENT_SHARE))
    best = min(recent, key=lambda harm: harm.p_value, default=None)
    if best is None or min(1.0, cost * best.p_value) >= over_all:
        return replace(whole, harm_p_value=over_all)
    shown_by = replace(best.shown_by, recent=True)
    return replace(whole, harm_p_value=cost * best.p_value, shown_by=shown_by)
