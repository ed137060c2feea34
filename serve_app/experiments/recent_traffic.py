"""Harm that begins late: the guardrails over the last minute, beside those over the whole life.

Over the whole life of an experiment a failure that begins after a day drowns in what went well, and
its blocks are minutes long by then. So the last minute is also kept second by second, in memory. A
window begins every STEP_S and lasts WINDOW_S; each is a test of its own, always valid within it,
and their number is known beforehand: the part RECENT_SHARE of the level is divided among them all
(Bonferroni).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.guardrails import Guardrail, error_guardrail, latency_guardrail
from serve_app.experiments.records import PredictionRecord, Variant
from serve_app.experiments.summary import PairSummary, VariantSummary
from serve_app.experiments.table import tabulate

WINDOW_S = 60
STEP_S = 10
RECENT_SHARE = 0.25
"""Part of the guardrails' level that is spent on the last minute."""


@dataclass(frozen=True, slots=True)
class Window:
    """Traffic since a moment, at most WINDOW_S ago; blocks are keyed by seconds since then."""

    start_s: int
    blocks: Sequence[Block]


class RecentTraffic:
    """An experiment's predictions of the last minute, by second.

    Nothing but memory: whoever begins anew knows the last minute a minute later.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, Block] = {}
        self._unpaired: dict[str, PredictionRecord] = {}
        """Of mirrored requests, the variant that was recorded first, by prediction."""

    def add(self, record: PredictionRecord) -> None:
        """Count a prediction that was committed."""
        second = math.floor(record.time.timestamp())
        if second not in self._seconds:
            self._forget(max([second, *self._seconds]))
        block = self._seconds.setdefault(second, Block(block=second))
        variant = block.treatment if record.variant is Variant.TREATMENT else block.control
        variant.add_prediction(record)
        if record.mirrored:
            self._pair(record, block)

    def windows(self, now_s: float) -> list[Window]:
        """Return the windows that are under way, the oldest first; they share nothing with this."""
        return [
            Window(start_s, [_copy(each, start_s) for each in self._since(start_s)])
            for start_s in range(_first_start_s(now_s), math.floor(now_s) + 1, STEP_S)
        ]

    def _pair(self, record: PredictionRecord, block: Block) -> None:
        """Count a mirrored request once both variants are recorded.

        They have the request's time.
        """
        other = self._unpaired.pop(record.prediction_id, record)
        variants = {each.variant: each for each in (other, record)}
        if len(variants) == 1:
            self._unpaired[record.prediction_id] = record
        else:
            block.pairs.add_predictions(variants[Variant.CONTROL], variants[Variant.TREATMENT])

    def _forget(self, now_s: float) -> None:
        """Forget what no window holds any more."""
        oldest_s = _first_start_s(now_s)
        self._seconds = {
            second: block for second, block in self._seconds.items() if second >= oldest_s
        }
        self._unpaired = {
            prediction_id: record
            for prediction_id, record in self._unpaired.items()
            if record.time.timestamp() >= oldest_s
        }

    def _since(self, start_s: int) -> list[Block]:
        return [block for second, block in self._seconds.items() if second >= start_s]


def _first_start_s(now_s: float) -> int:
    """Return when the oldest window began that has not ended."""
    return math.floor((now_s - WINDOW_S) / STEP_S + 1) * STEP_S


def _copy(block: Block, start_s: int) -> Block:
    return Block(
        block=block.block - start_s,
        control=VariantSummary().merge(block.control),
        treatment=VariantSummary().merge(block.treatment),
        pairs=PairSummary().merge(block.pairs),
    )


def with_recent(
    definition: ExperimentDefinition,
    whole: tuple[Guardrail, Guardrail],
    windows: Sequence[Window],
    alpha: float,
) -> tuple[Guardrail, Guardrail]:
    """Return the guardrails on latency and errors with the evidence of the last minute as well.

    Args:
        definition: for the limits, and for the duration, which gives the number of windows.
        whole: both over the whole life.
        windows: those under way.
        alpha: level of each guardrail.
    """
    cost = (math.ceil(definition.duration_s / STEP_S) + WINDOW_S // STEP_S) / RECENT_SHARE
    tables = [tabulate(definition, BlockClock(each.start_s, 1.0), each.blocks) for each in windows]
    latency, errors = whole
    return (
        _stronger(latency, [latency_guardrail(definition, t, alpha / cost) for t in tables], cost),
        _stronger(errors, [error_guardrail(definition, t, alpha / cost) for t in tables], cost),
    )


def _stronger(whole: Guardrail, recent: Sequence[Guardrail], cost: float) -> Guardrail:
    """Return the guardrail with the stronger evidence of harm, at the price of looking at both."""
    over_all = min(1.0, whole.harm_p_value / (1 - RECENT_SHARE))
    best = min(recent, key=lambda each: each.harm_p_value, default=None)
    if best is None or min(1.0, cost * best.harm_p_value) >= over_all:
        return replace(whole, harm_p_value=over_all)
    shown_by = replace(best.shown_by, recent=True)
    return replace(whole, harm_p_value=cost * best.harm_p_value, shown_by=shown_by)
