"""Intervals and p-values that are valid at any number of interim looks, at any time.

A fixed-horizon 95 % interval covers the truth at one planned time. A *confidence sequence* covers
it at all times simultaneously with probability 95 %: an analysis after every observation and
stopping at any of them still leads to an error with probability alpha at most. The price is an
interval that is about 1.5 times as wide.

All methods are mixtures: the likelihood ratio of "the effect is delta" to "there is no effect",
averaged over delta from a normal distribution centred on 0. Without an effect this average is a
martingale that starts at 1, so by Ville's inequality it ever exceeds 1/alpha with probability alpha
at most. Its inverse is the p-value, and the effects that it does not reject form the interval.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def tuning(alpha: float) -> float:
    """Return n rho² at the sample size n at which the mixture's interval is narrowest.

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
    """Return the bound that a sum of variance `v` ever exceeds in absolute value with probability
    alpha.

    This is the two-sided normal mixture of Howard et al., arXiv 1810.08240, equation (14), as in
    the package confseq: sqrt((v + rho) ln((v + rho) / (rho alpha²))), rho = v_opt / tuning(alpha).
    """
    rho = v_opt / tuning(alpha)
    return math.sqrt((v + rho) * math.log((v + rho) / (rho * alpha**2)))


def log_e_value(t: ArrayLike, degrees_of_freedom: ArrayLike, information: ArrayLike) -> Floats:
    """Return the log of the evidence against "no effect", two-sided; arrays broadcast.

    This is the mixture for an unknown variance: the likelihood ratio of Student's t with a normal
    prior on the standardised effect (Lai 1976; Wang and Ramdas, arXiv 2310.03722, with
    information = n / c²). With infinite degrees of freedom it is the normal mixture above. The
    evidence is at most (1 + information)^(df / 2), so that a variance estimated from a few blocks
    and close to 0 by chance is not significant.

    Args:
        t: estimate over its standard error.
        degrees_of_freedom: of that standard error; infinite if it is known.
        information: prior variance over the estimate's own variance, proportional to the amount
            of data: tuning(alpha) * n / planned n.
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
    """Return the always-valid p-value of "the effect is not above 0"; t > 0 is evidence against it.

    It is half the two-sided p-value. Without an effect both signs are equally likely, so that the
    error probability is at most alpha / Phi(z) with z >= 2.7 at the boundary: 1.004 alpha.
    """
    evidence = np.where(np.asarray(t) > 0, log_e_value(t, degrees_of_freedom, information), -np.inf)
    return np.asarray(np.minimum(1.0, np.exp(-np.maximum(evidence, -1.0)) / 2))


def critical_t(degrees_of_freedom: ArrayLike, information: ArrayLike, alpha: ArrayLike) -> Floats:
    """Return the |t| at which the two-sided p-value is alpha: the half-width in standard errors.

    It is infinite while no value of t would be significant.
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
    """Sufficient statistics of independent values; for 0/1 values both sums are the count of 1."""

    n: int
    total: float
    square_total: float

    @property
    def mean(self) -> float:
        """The mean; it needs at least one value."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The unbiased variance; it needs at least two values. Within rounding of 0 it is 0."""
        squares = self.square_total - self.total**2 / self.n
        return 0.0 if squares <= 1e-12 * self.square_total else squares / (self.n - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialTest:
    """An effect with its interval and p-value."""

    value: float
    interval: tuple[float, float]
    p_value: float
    """The two-sided, always-valid p-value."""
    alpha: float
    """1 - alpha is the interval's confidence level; the interval excludes 0 if p_value <= alpha."""


def difference_in_means(
    control: Moments, treatment: Moments, *, alpha: float = 0.05, planned_n: float
) -> SequentialTest | None:
    """Return treatment's mean minus control's, always valid for *independent* values.

    For values that are correlated over time use `effect.difference_over_blocks`. The variance is
    the larger one of the pooled and the unpooled variance, the degrees of freedom are those of the
    smaller variant.

    Args:
        control, treatment: all values so far; the test may be repeated after any value.
        alpha: probability that the interval ever excludes the truth.
        planned_n: number of values per variant at which the interval is narrowest; it must not
            depend on the data.

    Returns:
        None if a variant has fewer than two values.

    >>> test = difference_in_means(
    ...     Moments(n=2000, total=1000, square_total=1000),
    ...     Moments(n=2000, total=1160, square_total=1160),
    ...     planned_n=5000,
    ... )
    >>> print(f"{test.value:+.3f} in {test.interval[0]:+.3f} to {test.interval[1]:+.3f}")
    +0.080 in +0.031 to +0.129
    """
    if min(control.n, treatment.n) < 2:
        return None
    variants = (control, treatment)
    pooled = sum(variant.variance * (variant.n - 1) for variant in variants) / (
        control.n + treatment.n - 2
    )
    # The few values of the smaller variant may happen to be similar; then the larger variant's
    # spread counts.
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
    successes: ArrayLike, draws: ArrayLike, p: ArrayLike, planned_n: float, alpha: float = 0.05
) -> Floats:
    """Return the log of the evidence against success probability `p`; exact for any sample size.

    This is the beta-binomial mixture of Howard et al., arXiv 1810.08240, section 3: the prior is
    Beta(c p, c (1 - p)) with c = planned_n / tuning(alpha) - 1, as the package confseq tunes it.
    """
    from scipy.special import betaln, xlog1py, xlogy

    k, n, p_ = (np.asarray(values, float) for values in (successes, draws, p))
    weight = max(planned_n / tuning(alpha) - 1, 1e-3)
    a, b = weight * p_, weight * (1 - p_)
    with np.errstate(invalid="ignore", divide="ignore"):
        mixture = betaln(a + k, b + n - k) - betaln(a, b)
        evidence = mixture - xlogy(k, p_) - xlog1py(n - k, -p_)
    impossible = ((p_ <= 0) & (k > 0)) | ((p_ >= 1) & (k < n))
    trivial = ((p_ <= 0) & (k <= 0)) | ((p_ >= 1) & (k >= n))
    return np.asarray(np.where(impossible, np.inf, np.where(trivial, 0.0, evidence)))


def bernoulli_interval(
    successes: int, draws: int, alpha: float = 0.05, planned_n: float = 100
) -> tuple[float, float]:
    """Return an always-valid interval for a probability; (0, 1) without draws.

    It holds every p that `log_bernoulli_e_value` does not reject, and is equal to
    `bernoulli_confidence_interval` of the package confseq with t_opt = planned_n.
    """
    from scipy.optimize import brentq

    if draws == 0:
        return 0.0, 1.0
    bound = math.log(1 / alpha)

    def excess(p: float) -> float:
        return float(log_bernoulli_e_value(successes, draws, p, planned_n)) - bound

    share = successes / draws
    tiny = 1e-15
    low = brentq(excess, tiny, share) if successes and excess(tiny) > 0 else 0.0
    missed = draws - successes
    high = brentq(excess, share, 1 - tiny) if missed and excess(1 - tiny) > 0 else 1.0
    return float(low), float(high)


def rate_ratio_p_value(
    control: tuple[int, int], treatment: tuple[int, int], ratio: float, planned_events: float
) -> float:
    """Return the always-valid p-value of "treatment's rate is at most `ratio` times control's".

    If treatment's rate is exactly `ratio` times control's, each event belongs to treatment with
    probability ratio n_t / (ratio n_t + n_c) (Przyborowski and Wilenski 1940), and this probability
    is tested by the beta-binomial mixture; for independent events.

    Args:
        control, treatment: number of events and of draws.
        ratio: ratio of the rates under the hypothesis.
        planned_events: number of events that the test is tuned to.
    """
    (control_events, control_n), (treatment_events, treatment_n) = control, treatment
    events = control_events + treatment_events
    if not events or not control_n or not treatment_n:
        return 1.0
    share = ratio * treatment_n / (ratio * treatment_n + control_n)
    if treatment_events <= events * share:
        return 1.0
    evidence = log_bernoulli_e_value(treatment_events, events, share, planned_events)
    return min(1.0, math.exp(-float(evidence)) / 2)
