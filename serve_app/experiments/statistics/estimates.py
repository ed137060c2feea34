"""Treatment minus control, with a standard error that does not assume independent values.

Trading returns overlap: the outcomes of two predictions within one horizon depend on the same move
of the market. The unit of analysis is therefore a block of time, not a prediction. The standard
error is computed from the variance of the blocks' contributions (cluster-robust), with the
covariance of neighbouring blocks where a block is not much longer than the horizon, and it is never
smaller than it would be if all values were independent.

All functions take arrays whose last axis is the blocks in order of time, without gaps; a block
without values has zeros. Leading axes are independent experiments.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LONG_BLOCK_HORIZONS = 8
"""For blocks of this many horizons the overlap with their neighbours changes the variance by 4 % at
most, and is ignored."""

LAG_COST = 2.0
"""An estimated covariance of neighbours makes the estimate of the variance noisier by about this
factor, by which the degrees of freedom are divided."""


@dataclass(frozen=True, slots=True)
class VariantBlocks:
    """Sufficient statistics of one variant by block, arrays of shape (..., blocks)."""

    n: Floats
    total: Floats
    square_total: Floats


@dataclass(frozen=True, slots=True)
class Estimate:
    """An effect and its standard error; arrays without the block axis."""

    value: Floats
    standard_error: Floats
    degrees_of_freedom: Floats
    """Degrees of freedom of the standard error; 0 or less if there are too few blocks for one."""
    weight: Floats
    """Amount of data: the harmonic sum of both variants' counts, which is half of a variant's count
    if they are equal; in mirror mode the number of pairs."""

    @property
    def t(self) -> Floats:
        """The effect in standard errors; 0 where both are 0."""
        return t_of(self.value, self.standard_error)


def t_of(value: Floats, standard_error: Floats) -> Floats:
    """Return value / standard_error; 0 where both are 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(value == 0, 0.0, np.divide(value, standard_error)))


def within_blocks(
    control: VariantBlocks,
    treatment: VariantBlocks,
    *,
    floor: Floats | float = 0.0,
    neighbours: bool,
) -> Estimate:
    """Compare the variants within each block, and average over the blocks.

    Whatever affects both variants during a block (the market, the load) cancels, and so does a
    change of treatment's share over time, which would bias a comparison of pooled means (Simpson's
    paradox). Blocks are weighted by n_c n_t / (n_c + n_t), the inverse variance of their
    difference; a block in which a variant has no value does not count.

    Args:
        control, treatment: sums by block.
        floor: lower bound of the estimate's variance, see `independent_variance`.
        neighbours: whether to add the covariance of neighbouring blocks.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num(control.n * treatment.n / (control.n + treatment.n))
        difference = treatment.total / treatment.n - control.total / control.n
    return weighted(
        weight, np.where(weight > 0, difference, 0.0), floor=floor, neighbours=neighbours
    )


def paired(pairs: VariantBlocks, *, floor: Floats | float = 0.0, neighbours: bool) -> Estimate:
    """Average the pairs' differences; blocks are weighted by their number of pairs."""
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = pairs.total / pairs.n
    return weighted(
        pairs.n, np.where(pairs.n > 0, difference, 0.0), floor=floor, neighbours=neighbours
    )


def weighted(
    weight: Floats, difference: Floats, *, floor: Floats | float, neighbours: bool
) -> Estimate:
    """Return the weighted mean of the blocks' differences.

    Its variance is the sum of the squared contributions (White 1980, with the HC2 correction of
    MacKinnon and White 1985 for few blocks), plus twice the sum of the products of neighbours
    (Hansen and Hodrick 1980). Degrees of freedom are those of the effective number of blocks,
    (sum w)² / sum w², less 1.
    """
    total = weight.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num(weight / total)
        value = (share * difference).sum(axis=-1)
        contribution = share * (difference - value[..., None]) / np.sqrt(1 - share)
        effective = 1 / np.square(share).sum(axis=-1)
    return from_contributions(
        value, np.nan_to_num(contribution), effective - 1, total[..., 0], floor, neighbours
    )


def between_blocks(
    control: VariantBlocks, treatment: VariantBlocks, *, neighbours: bool
) -> Estimate:
    """Compare the variants' pooled means, for a switchback, whose blocks hold one variant each.

    The variance is that of the two linearised ratios by block; the degrees of freedom are those of
    the variant with fewer blocks.
    """
    value = np.zeros(control.n.shape[:-1])
    contribution = np.zeros(control.n.shape)
    freedom = np.full(value.shape, np.inf)
    counts = []
    for sign, variant in ((-1, control), (1, treatment)):
        count = variant.n.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = variant.total.sum(axis=-1, keepdims=True) / count
            effective = count[..., 0] ** 2 / np.square(variant.n).sum(axis=-1)
            few = np.sqrt(effective / (effective - 1))[..., None]
            contribution = contribution + sign * few * (variant.total - mean * variant.n) / count
        value = value + sign * mean[..., 0]
        freedom = np.minimum(freedom, np.nan_to_num(effective) - 1)
        counts.append(count[..., 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num(counts[0] * counts[1] / (counts[0] + counts[1]))
    # A single block gives no variance of its variant, and has no degrees of freedom either.
    contribution = np.nan_to_num(contribution, posinf=0.0, neginf=0.0)
    return from_contributions(np.nan_to_num(value), contribution, freedom, weight, 0.0, neighbours)


def from_contributions(
    value: Floats,
    contribution: Floats,
    degrees_of_freedom: Floats,
    weight: Floats,
    floor: Floats | float,
    neighbours: bool,
) -> Estimate:
    """Return the estimate whose deviation from the truth is the sum of the blocks' contributions.

    A negative covariance never reduces the variance, which is at least `floor`.
    """
    own = np.square(contribution).sum(axis=-1)
    variance = np.maximum(own, floor)
    if neighbours:
        shared = (contribution[..., 1:] * contribution[..., :-1]).sum(axis=-1)
        variance = np.maximum(variance, own + 2 * shared)
        degrees_of_freedom = degrees_of_freedom / LAG_COST
    return Estimate(value, np.sqrt(variance), np.nan_to_num(degrees_of_freedom, nan=0.0), weight)


def independent_variance(control: VariantBlocks, treatment: VariantBlocks) -> Floats:
    """Return the variance that `within_blocks` would have if all values were independent.

    It uses the variants' own variances or the pooled one, whichever gives the larger result: the
    few values of a small variant may happen to be similar.
    """
    variants = (control, treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num(control.n * treatment.n / (control.n + treatment.n))
        scale = weight.sum(axis=-1) ** 2
        factors = [
            np.nan_to_num(np.where(weight > 0, weight**2 / variant.n, 0.0).sum(axis=-1) / scale)
            for variant in variants
        ]
        freedoms = [np.maximum(variant.n.sum(axis=-1) - 1, 0.0) for variant in variants]
        variances = [value_variance(variant) for variant in variants]
        pooled = np.nan_to_num(
            sum(freedom * own for freedom, own in zip(freedoms, variances, strict=True))
            / (freedoms[0] + freedoms[1])
        )
    own = factors[0] * variances[0] + factors[1] * variances[1]
    return np.asarray(np.maximum(own, (factors[0] + factors[1]) * pooled))


def value_variance(variant: VariantBlocks) -> Floats:
    """Return the variance of a single value over all blocks; within rounding of 0 it is 0."""
    n, total, squares = (
        sums.sum(axis=-1) for sums in (variant.n, variant.total, variant.square_total)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = squares - total**2 / n
        variance = np.where(spread > 1e-12 * squares, spread / (n - 1), 0.0)
    return np.asarray(np.nan_to_num(variance, nan=0.0, posinf=0.0, neginf=0.0))


def counted(variant: VariantBlocks) -> VariantBlocks:
    """Return the variant with one success and one failure added, for the variance of a share.

    Without them ten successes of ten would have no variance (Agresti and Caffo 2000).
    """
    extra = np.zeros(variant.n.shape)
    extra[..., 0] = 1.0
    return VariantBlocks(variant.n + 2 * extra, variant.total + extra, variant.square_total + extra)
