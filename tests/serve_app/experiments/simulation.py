"""Simulated experiments, one prediction a second."""

import numpy as np
from scipy import stats

from serve_app.experiments.blocks import Block, BlockClock, common_length, length
from serve_app.experiments.power import interim_alpha, planned_weight
from serve_app.experiments.statistics.estimates import (
    LONG_BLOCK_HORIZONS,
    VariantBlocks,
    counted,
    independent_variance,
    within_blocks,
)
from serve_app.experiments.statistics.sequential import p_value, tuning
from serve_app.experiments.summary import VariantSummary
from serve_app.experiments.table import PREDICTIONS_PER_BLOCK
from tests.serve_app.experiments.factories import START

ALPHA = 0.05

OVERLAPPING = {"horizon": 20, "view": 60}
"""Outcomes over 20 predictions and views held over 60: far from independent."""

CLOCK = BlockClock(START.timestamp(), base_s=1.0)
"""The clock of one prediction in each of the shortest blocks."""


def most_false_alarms(count: int, alpha: float = ALPHA) -> int:
    """Return the number of false alarms that a rate of alpha exceeds once in a thousand runs."""
    return int(stats.binom.ppf(0.999, count, alpha))


class Experiments:
    """Many experiments at once, arrays of shape (experiments, predictions).

    The market is a random walk; the outcome of a prediction is its move over the next `horizon`
    predictions, so that outcomes overlap. Both models hold a view for `view` predictions, correct
    half of the time; then treatment's wrong predictions are corrected with probability 2
    `effect`.
    """

    def __init__(self, seed, experiments, predictions, *, horizon=1, view=1, share=0.5, effect=0.0):
        generator = np.random.default_rng(seed)
        shape = (experiments, predictions)
        walk = generator.standard_normal((experiments, predictions + horizon + 1)).cumsum(axis=1)
        self.horizon = horizon
        self.returns = 0.001 * (walk[:, horizon : horizon + predictions] - walk[:, :predictions])
        rises = self.returns > 0
        views = [
            np.repeat(generator.random((experiments, predictions // view + 1)) < 0.5, view, axis=1)
            for _ in range(2)
        ]
        self.control_right = views[0][:, :predictions] == rises
        right = views[1][:, :predictions] == rises
        corrected = generator.random(shape) < 2 * abs(effect)
        self.treatment_right = right | corrected if effect >= 0 else right & ~corrected
        self.treated = generator.random(shape) < share
        self._blocks_made = {}

    def p_values(self, made, now):
        """Return the verdict's always-valid p-values after `now` predictions."""
        size = common_length([now - 1], max(self.horizon, PREDICTIONS_PER_BLOCK))
        variants = [
            self._blocks(chosen, right, now, size)
            for chosen, right in (
                (~self.treated, self.control_right),
                (self.treated, self.treatment_right),
            )
        ]
        estimate = within_blocks(
            *variants,
            floor=independent_variance(*(counted(variant) for variant in variants)),
            neighbours=size < LONG_BLOCK_HORIZONS * self.horizon,
        )
        freedom = estimate.degrees_of_freedom
        information = tuning(interim_alpha(made)) * estimate.weight / planned_weight(made)
        values = p_value(estimate.t, np.maximum(freedom, 1), information)
        return np.where(freedom >= 1, np.minimum(1, 2 * values), 1.0)

    def naive_z(self, now):
        """Return the statistic of the fixed-horizon test for two proportions."""
        treated = self.treated[:, :now]
        n = np.stack([(~treated).sum(1), treated.sum(1)])
        right = np.stack(
            [
                (~treated & self.control_right[:, :now]).sum(1),
                (treated & self.treatment_right[:, :now]).sum(1),
            ]
        )
        pooled = right.sum(0) / n.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(pooled * (1 - pooled) * (1 / n).sum(0))
            return np.nan_to_num((right[1] / n[1] - right[0] / n[0]) / error)

    @staticmethod
    def _blocks(chosen, right, now, size):
        starts = np.arange(0, now, size)
        n = np.add.reduceat(chosen[:, :now].astype(float), starts, axis=1)
        hits = np.add.reduceat((chosen & right)[:, :now].astype(float), starts, axis=1)
        return VariantBlocks(n, hits, hits)

    def summaries(self, row, now, *, errors=(0.0, 0.0), latency_ms=(2.0, 2.0)):
        """Return one experiment's blocks after `now` predictions, as the store holds them."""
        treated = self.treated[row]
        generator = np.random.default_rng(row)
        failed = generator.random(len(treated)) < np.where(treated, errors[1], errors[0])
        spent = generator.gamma(4.0, np.where(treated, latency_ms[1], latency_ms[0]) / 4)
        blocks, start = [], 0
        while start < now:
            end = min(start + length(start), now)
            key = (row, start, end, errors, latency_ms)
            if key not in self._blocks_made:
                part = slice(start, end)
                self._blocks_made[key] = Block(
                    block=start,
                    control=self._variant(row, part, ~treated[part], failed[part], spent[part]),
                    treatment=self._variant(row, part, treated[part], failed[part], spent[part]),
                )
            blocks.append(self._blocks_made[key])
            start = end
        return blocks

    def _variant(self, row, part, chosen, failed, spent):
        answered, errors = chosen & ~failed, int((chosen & failed).sum())
        right = np.where(
            self.treated[row, part], self.treatment_right[row, part], self.control_right[row, part]
        )
        moves = np.abs(self.returns[row, part])
        earned = np.where(right, moves, -moves)[answered]
        hits, count = int((answered & right).sum()), int(answered.sum())
        return VariantSummary(
            predictions=count + errors,
            errors=errors,
            latency_sum=float(spent[answered].sum()),
            latency_square_sum=float(np.square(spent[answered]).sum()),
            latency_bins={380: count} if count else {},
            first_s=START.timestamp() + part.start,
            last_s=START.timestamp() + part.stop,
            confusion=[0, 0, 0, 0, hits, count - hits, 0, 0, 0],
            wins=hits,
            return_sum=float(earned.sum()),
            return_square_sum=float(np.square(earned).sum()),
            least_delay_s=float(self.horizon),
        )
