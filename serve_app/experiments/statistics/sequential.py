"""Intervals and p-values that hold however often, and whenever, one looks.

A fixed-horizon 95 % interval covers the truth at one planned moment. A *confidence sequence* covers
it at all moments at once with 95 %: one may look after every observation, stop when one likes, and
still be wrong with probability alpha at most. The price is an interval about 1.5 times as wide.

All are mixtures: the likelihood ratio of "the effect is delta" to "there is none", averaged over
delta from a normal distribution centred on none. Under no effect this average is a martingale that
begins at 1, so by Ville's inequality it ever exceeds 1/alpha with probability alpha at most. Its
inverse is the p-value, and the effects it does not reject are the interval.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def tuning(alpha: float) -> float:
    """Return n rho² at the sample size n for which the mixture's interval is narrowest.

    Waudby-Smith et al., arXiv 2103.06476, section B.2: -2 ln alpha + ln(-2 ln alpha + 1).
    """
    log_alpha = -2 * math.log(alpha)
    return log_alpha + math.log1p(log_alpha)


def asymptotic_half_width(
    n: float, standard_deviation: float, alpha: float, planned_n: float
) -> float:
    """Return the half-width of the asymptotic confidence sequence for a mean, after `n` values.

    Waudby-Smith et al., arXiv 2103.06476, theorem 2.2: sigma * sqrt(2 (n rho² + 1) / (n rho)² *
    ln(sqrt(n rho² + 1) / alpha)), two-sided, with rho² = tuning(alpha) / planned_n.
    """
    information = tuning(alpha) * n / planned_n
    return standard_deviation / math.sqrt(n) * float(critical_t(math.inf, information, alpha))


def normal_mixture_boundary(v: float, alpha: float, v_opt: float) -> float:
    """Return what a sum of variance `v` exceeds in absolute value, ever, with probability alpha.

    Two-sided normal mixture, Howard et al., arXiv 1810.08240, equation (14), as in the package
    confseq: sqrt((v + rho) ln((v + rho) / (rho alpha²))), rho = v_opt / tuning(alpha).
    """
    rho = v_opt / tuning(alpha)
    return math.sqrt((v + rho) * math.log((v + rho) / (rho * alpha**2)))


def log_e_value(t: ArrayLike, degrees_of_freedom: ArrayLike, information: ArrayLike) -> Floats:
    """Return the log of the evidence against "no effect", two-sided; arrays broadcast.

    The mixture for an unknown variance: the likelihood ratio of Student's t with a normal prior on
    the standardised effect (Lai 1976; Wang and Ramdas, arXiv 2310.03722, with
    information = n / c²). With infinite degrees of freedom it is the normal mixture above. The
    evidence is at most (1 + information)^(df / 2), so that a variance of a few blocks that happens
    to be near 0 proves nothing.

    Args:
        t: estimate over its standard error.
        degrees_of_freedom: of that standard error; infinite when it is known.
        information: prior variance over the estimate's own variance, growing in proportion to the
            amount of data: tuning(alpha) * n / planned n.
    """
    t_, df, k = np.broadcast_arrays(
        np.asarray(t, float), np.asarray(degrees_of_freedom, float), np.asarray(information, float)
    )
    t_square = np.minimum(np.abs(t_), 1e150) ** 2
    with np.errstate(invalid="ignore", over="ignore"):
        student = (df + 1) / 2 * (np.log1p(t_square / df) - np.log1p(t_square / (df * (1 + k))))
    normal = t_square / 2 * (k / (1 + k))
    return np.asarray(np.where(np.isinf(df), normal, student) - np.log1p(k) / 2)


def p_value(t: ArrayLike, degrees_of_freedom: ArrayLike, information: ArrayLike) -> Floats:
    """Return the always-valid two-sided p-value: 1 over the evidence, at most 1."""
    return np.asarray(np.exp(-np.maximum(log_e_value(t, degrees_of_freedom, information), 0.0)))


def one_sided_p_value(
    t: ArrayLike, degrees_of_freedom: ArrayLike, information: ArrayLike
) -> Floats:
    """Return the always-valid p-value against "the effect is not above 0"; t > 0 speaks against it.

    Half the two-sided one. Under no effect both signs are equally likely, so that the error is at
    most alpha / Phi(z) with z >= 2.7 at the boundary: 1.004 alpha.
    """
    evidence = np.where(np.asarray(t) > 0, log_e_value(t, degrees_of_freedom, information), -np.inf)
    return np.asarray(np.minimum(1.0, np.exp(-np.maximum(evidence, -1.0)) / 2))


def critical_t(degrees_of_freedom: ArrayLike, information: ArrayLike, alpha: ArrayLike) -> Floats:
    """Return the |t| at which the two-sided p-value is alpha: the half-width in standard errors.

    Infinite while no value of t could be evidence enough.
    """
    df, k, level = np.broadcast_arrays(
        np.asarray(degrees_of_freedom, float),
        np.asarray(information, float),
        np.asarray(alpha, float),
    )
    log_bound = np.log1p(k) / 2 - np.log(level)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        normal = 2 * log_bound * (1 + k) / k
        ratio = np.expm1(2 * log_bound / (df + 1))
        room = 1 - (1 + ratio) / (1 + k)
        student = np.where(room > 0, df * ratio / room, np.inf)
    return np.asarray(np.sqrt(np.where(np.isinf(df), normal, student)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Sufficient statistics of independent values; for a 0/1 value both sums are the count."""

    n: int
    total: float
    square_total: float

    @property
    def mean(self) -> float:
        """Mean; there must be a value."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """Unbiased variance; there must be two values. What is within rounding of 0 is 0."""
        squares = self.square_total - self.total**2 / self.n
        return 0.0 if squares <= 1e-12 * self.square_total else squares / (self.n - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialTest:
    """An effect with its interval and p-value."""

    value: float
    interval: tuple[float, float]
    p_value: float
    """Two-sided."""
    alpha: float
    """1 - alpha is the interval's confidence; it leaves 0 out when p_value <= alpha."""


def difference_in_means(
    control: Moments, treatment: Moments, *, alpha: float = 0.05, planned_n: float
) -> SequentialTest | None:
    """Return treatment's mean minus control's, always valid for *independent* values.

    For values that are correlated over time use `effects.difference_over_blocks`. The variance is
    the larger of the pooled and the unpooled one, the degrees of freedom are the smaller variant's.

    Args:
        control, treatment: of each variant so far; look as often as you like.
        alpha: probability of ever leaving the truth out of the interval.
        planned_n: values per variant at which the interval is narrowest; it must not depend on the
            data.

    Returns:
        None with fewer than two values in a variant.
    """
    if min(control.n, treatment.n) < 2:
        return None
    variants = (control, treatment)
    pooled = sum(variant.variance * (variant.n - 1) for variant in variants) / (
        control.n + treatment.n - 2
    )
    # A few values of the smaller variant may happen to be alike; then the larger variant's spread
    # counts.
    error = math.sqrt(
        max(
            sum(variant.variance / variant.n for variant in variants),
            sum(pooled / variant.n for variant in variants),
        )
    )
    freedom = min(control.n, treatment.n) - 1
    weight = control.n * treatment.n / (control.n + treatment.n)
    information = tuning(alpha) * weight / (planned_n / 2)
    value = treatment.mean - control.mean
    half_width = float(critical_t(freedom, information, alpha)) * error if error else math.inf
    t = value / error if error else 0.0
    return SequentialTest(
        value=value,
        interval=(value - half_width, value + half_width),
        p_value=float(p_value(t, freedom, information)),
        alpha=alpha,
    )


def log_bernoulli_e_value(
    successes: ArrayLike, trials: ArrayLike, p: ArrayLike, planned_n: float, alpha: float = 0.05
) -> Floats:
    """Return the log of the evidence against success probability `p`; exact for any sample size.

    Beta-binomial mixture, Howard et al., arXiv 1810.08240, section 3: the prior is Beta(c p,
    c (1 - p)) with c = planned_n / tuning(alpha) - 1, as the package confseq tunes it.
    """
    from scipy.special import betaln, xlog1py, xlogy

    k, n, p_ = (np.asarray(each, float) for each in (successes, trials, p))
    weight = max(planned_n / tuning(alpha) - 1, 1e-3)
    a, b = weight * p_, weight * (1 - p_)
    with np.errstate(invalid="ignore", divide="ignore"):
        mixture = betaln(a + k, b + n - k) - betaln(a, b)
        evidence = mixture - xlogy(k, p_) - xlog1py(n - k, -p_)
    impossible = ((p_ <= 0) & (k > 0)) | ((p_ >= 1) & (k < n))
    trivial = ((p_ <= 0) & (k <= 0)) | ((p_ >= 1) & (k >= n))
    return np.asarray(np.where(impossible, np.inf, np.where(trivial, 0.0, evidence)))


def bernoulli_interval(
    successes: int, trials: int, alpha: float = 0.05, planned_n: float = 100
) -> tuple[float, float]:
    """Return an always-valid interval for a probability; (0, 1) without trials.

    The p that `log_bernoulli_e_value` does not reject; equal to `bernoulli_confidence_interval`
    of the package confseq with t_opt = planned_n.
    """
    from scipy.optimize import brentq

    if trials == 0:
        return 0.0, 1.0
    bound = math.log(1 / alpha)

    def excess(p: float) -> float:
        return float(log_bernoulli_e_value(successes, trials, p, planned_n)) - bound

    share = successes / trials
    tiny = 1e-15
    low = brentq(excess, tiny, share) if successes and excess(tiny) > 0 else 0.0
    missed = trials - successes
    high = brentq(excess, share, 1 - tiny) if missed and excess(1 - tiny) > 0 else 1.0
    return float(low), float(high)
