"""One effect, treatment minus control, with all of its tests: sequential and fixed-horizon."""

import math
from dataclasses import dataclass, replace

import numpy as np

from serve_app.experiments.statistics import estimates, sequential
from serve_app.experiments.statistics.distributions import t_quantile, t_tail
from serve_app.experiments.statistics.estimates import Estimate, VariantBlocks
from serve_app.experiments.statistics.sequential import Moments, SequentialTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Treatment minus control."""

    value: float
    standard_error: float
    degrees_of_freedom: float
    """Degrees of freedom of the standard error; below 1 there is too little data for any test."""
    weight: float
    """Amount of data, see `estimates.Estimate.weight`."""

    @classmethod
    def of(cls, estimate: Estimate) -> "Effect":
        """Return the effect of an estimate of a single experiment."""
        return cls(
            value=float(estimate.value),
            standard_error=float(estimate.standard_error),
            degrees_of_freedom=float(estimate.degrees_of_freedom),
            weight=float(estimate.weight),
        )

    @property
    def known(self) -> bool:
        """Whether there is enough data for a standard error."""
        return self.degrees_of_freedom >= 1 and self.weight > 0

    @property
    def t(self) -> float:
        """The effect in standard errors."""
        if self.value == 0:
            return 0.0
        if self.standard_error == 0:
            return math.copysign(math.inf, self.value)
        return self.value / self.standard_error

    def above(self, margin: float) -> "Effect":
        """Return the effect minus `margin`."""
        return replace(self, value=self.value - margin)

    def below(self, margin: float) -> "Effect":
        """Return `margin` minus the effect."""
        return replace(self, value=margin - self.value)

    def sequential_p_value(self, planned_weight: float, alpha: float) -> float:
        """Return the always-valid two-sided p-value of "the effect is 0"; 1 when unknown."""
        if not self.known:
            return 1.0
        information = self._information(planned_weight, alpha)
        return float(sequential.p_value(self.t, self.degrees_of_freedom, information))

    def sequential_one_sided_p_value(self, planned_weight: float, alpha: float) -> float:
        """Return the always-valid p-value of "the effect is not above 0"; 1 when unknown."""
        if not self.known:
            return 1.0
        information = self._information(planned_weight, alpha)
        return float(sequential.one_sided_p_value(self.t, self.degrees_of_freedom, information))

    def sequential_half_width(self, planned_weight: float, alpha: float) -> float:
        """Return the half-width of the two-sided 1 - alpha confidence sequence."""
        if not self.known:
            return math.inf
        critical = sequential.critical_t(
            self.degrees_of_freedom, self._information(planned_weight, alpha), alpha
        )
        return math.inf if math.isinf(critical) else float(critical) * self.standard_error

    def fixed_p_value(self) -> float:
        """Return the two-sided p-value of a single, planned analysis; 1 when unknown."""
        return 2 * t_tail(abs(self.t), self.degrees_of_freedom) if self.known else 1.0

    def fixed_half_width(self, alpha: float) -> float:
        """Return the half-width of the two-sided 1 - alpha interval of a single, planned
        analysis.
        """
        if not self.known:
            return math.inf
        return -t_quantile(alpha / 2, self.degrees_of_freedom) * self.standard_error

    def _information(self, planned_weight: float, alpha: float) -> float:
        return sequential.tuning(alpha) * self.weight / planned_weight


def paired_effect(pairs: VariantBlocks, *, neighbours: bool, extra_pairs: int = 0) -> Effect:
    """Return the mean difference of pairs, with its variance at least that of independent pairs.

    Args:
        pairs: number of pairs, and sums of their differences, by block.
        neighbours: see `estimates.within_blocks`.
        extra_pairs: number of discordant pairs in either direction that are added for the
            variance alone.
    """
    n = float(pairs.n.sum())
    extra = np.zeros(pairs.n.shape)
    extra[0] = 2 * extra_pairs
    padded = VariantBlocks(pairs.n + extra, pairs.total, pairs.square_total + extra)
    floor = float(estimates.value_variance(padded)) / n if n else 0.0
    return Effect.of(estimates.paired(pairs, floor=floor, neighbours=neighbours))


def effect_of_means(control: Moments, treatment: Moments) -> Effect:
    """Return the difference in means of independent values (Welch 1947).

    Its variance is the larger one of Welch's and of the pooled variance: a small variant may lack
    the few extreme values by chance.

    Args:
        control, treatment: at least two values each.
    """
    variants = (control, treatment)
    freedoms = [variant.n - 1 for variant in variants]
    parts = [variant.variance / variant.n for variant in variants]
    pooled = sum(
        variant.variance * freedom for variant, freedom in zip(variants, freedoms, strict=True)
    ) / sum(freedoms)
    welch = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    return Effect(
        value=treatment.mean - control.mean,
        standard_error=math.sqrt(
            max(sum(parts), pooled * sum(1 / variant.n for variant in variants))
        ),
        degrees_of_freedom=sum(parts) ** 2 / welch if welch else float(min(freedoms)),
        weight=control.n * treatment.n / (control.n + treatment.n),
    )


def difference_over_blocks(
    control: VariantBlocks,
    treatment: VariantBlocks,
    *,
    alpha: float = 0.05,
    planned_n: float,
    neighbours: bool = True,
) -> SequentialTest | None:
    """Return treatment's mean minus control's, always valid for values correlated over time.

    This is the block method by itself: cut time into blocks of equal length, at least one horizon
    long, and sum each variant's values (0 and 1 for accuracy) within each block.

    Args:
        control, treatment: sums by block in order of time, arrays of shape (blocks,), zeros where
            a variant has no value. The test may be repeated after any value; the last block may be
            incomplete.
        alpha: probability that the interval ever excludes the truth.
        planned_n: number of values per variant at which the interval is narrowest; it must not
            depend on the data.
        neighbours: false only for blocks of many horizons, whose neighbours are independent.

    Returns:
        None while there are too few blocks for a standard error.

    >>> import numpy as np
    >>> count = np.full(60, 50.0)
    >>> control, treatment = np.tile([24.0, 26.0], 30), np.tile([28.0, 32.0], 30)
    >>> test = difference_over_blocks(
    ...     VariantBlocks(count, control, control),
    ...     VariantBlocks(count, treatment, treatment),
    ...     planned_n=5000,
    ... )
    >>> print(f"{test.value:+.2f} in {test.interval[0]:+.3f} to {test.interval[1]:+.3f}")
    +0.10 in +0.058 to +0.142
    """
    floor = estimates.independent_variance(control, treatment)
    effect = Effect.of(
        estimates.within_blocks(control, treatment, floor=floor, neighbours=neighbours)
    )
    if not effect.known:
        return None
    half_width = effect.sequential_half_width(planned_n / 2, alpha)
    return SequentialTest(
        value=effect.value,
        interval=(effect.value - half_width, effect.value + half_width),
        p_value=effect.sequential_p_value(planned_n / 2, alpha),
        alpha=alpha,
    )
