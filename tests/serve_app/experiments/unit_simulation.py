"""Simulated experiments that assign bots, each with its own accuracy; outcomes in batches."""

import numpy as np

from serve_app.experiments.power import interim_alpha, planned_weight
from serve_app.experiments.records import Variant
from serve_app.experiments.statistics.by_unit import accuracy_by_unit
from serve_app.experiments.statistics.effect import Effect
from serve_app.experiments.statistics.estimates import Estimate
from serve_app.experiments.statistics.sequential import p_value, tuning
from serve_app.experiments.statistics.unit_moments import (
    CORRECT,
    LABELLED,
    SIZE,
    UnitMoments,
)
from serve_app.experiments.units import overlap_weight, slice_of


class UnitExperiments:
    """Many experiments at once; `batches` yields the sums over bots after each batch.

    Args:
        seed: the seed of all random numbers.
        experiments, units: the number of experiments, and of bots in each.
        share: treatment's share.
        deviation: the standard deviation of the bots' own accuracies around one half.
        outliers: the share of bots with an accuracy of 0.9 instead.
        joining: whether bots join one after the other, over nine tenths of the time.
        unequal: the standard deviation of the logarithm of the bots' activity.
        busy_better: added to a bot's accuracy per unit of the logarithm of its activity.
        effect: added to the accuracy of treatment's bots.
        first_share: treatment's share during the first half of the batches.
        first_shift: added to all accuracies during that half: the market differs.
    """

    def __init__(
        self,
        seed,
        experiments,
        units,
        *,
        share=0.5,
        deviation=0.1,
        outliers=0.0,
        joining=False,
        unequal=0.0,
        busy_better=0.0,
        effect=0.0,
        first_share=None,
        first_shift=0.0,
    ):
        self._generator = generator = np.random.default_rng(seed)
        shape = (experiments, units)
        self.lots = generator.random(shape)
        self.shares = share if first_share is None else first_share, share
        self.effect, self.first_shift = effect, first_shift
        own = 0.5 + deviation * generator.standard_normal(shape)
        own = np.where(generator.random(shape) < outliers, 0.9, own)
        activity = generator.lognormal(0.0, unequal, shape)
        self.activity = activity / activity.mean(axis=1, keepdims=True)
        self.accuracy = own + busy_better * np.log(self.activity)
        self.comes = np.arange(units) / units * 0.9 if joining else np.zeros(units)

    def batches(self, count, rate=1.0):
        """Yield the sums over bots after each of `count` batches of `rate` outcomes per bot."""
        vectors = np.zeros((*self.lots.shape, SIZE))
        independent = np.zeros((len(self.lots), SIZE, SIZE))
        for number in range(count):
            early = number < count / 2
            share, intended = self.shares[not early], self.shares[1]
            treated = self.lots < share
            present = self.comes <= number / count
            fresh = self._generator.poisson(rate * self.activity * present)
            accuracy = self.accuracy + self.effect * treated + self.first_shift * early
            right = self._generator.binomial(fresh, np.clip(accuracy, 0.01, 0.99))
            for variant, chosen in zip(Variant, (~treated, treated), strict=True):
                weight = overlap_weight(variant, share, intended)
                labelled, correct = (
                    slice_of(variant).start + measure for measure in (LABELLED, CORRECT)
                )
                vectors[..., labelled] += weight * fresh * chosen
                vectors[..., correct] += weight * right * chosen
                independent[:, labelled, labelled] += weight**2 * (fresh * chosen).sum(axis=1)
                both = weight**2 * (right * chosen).sum(axis=1)
                for pair in ((labelled, correct), (correct, labelled), (correct, correct)):
                    independent[:, *pair] += both
            products = np.swapaxes(vectors, 1, 2) @ vectors
            yield UnitMoments(vectors.sum(axis=1), products, independent.copy())


def p_values(made, moments):
    """Return the verdict's always-valid p-values as `significance` does, for many experiments at
    once."""
    return _p_values(made, accuracy_by_unit(moments)[0])


def p_values_by_request(made, moments):
    """Return the p-values that independent predictions would have."""
    estimate, independent = accuracy_by_unit(moments)
    freedom = np.full(independent.shape, np.inf)
    error = np.sqrt(independent)
    return _p_values(made, Estimate(estimate.value, error, freedom, estimate.weight))


def fixed_p_values(moments):
    """Return the p-values of a single, planned analysis."""
    estimate = accuracy_by_unit(moments)[0]
    rows = zip(
        estimate.value,
        estimate.standard_error,
        estimate.degrees_of_freedom,
        estimate.weight,
        strict=True,
    )
    return np.array([Effect.of(Estimate(*row)).fixed_p_value() for row in rows])


def _p_values(made, estimate):
    freedom = estimate.degrees_of_freedom
    interim = interim_alpha(made)
    information = tuning(interim) * estimate.weight / planned_weight(made)
    values = p_value(estimate.t, np.maximum(freedom, 1), information)
    return np.where(freedom >= 1, np.minimum(1, made.alpha / interim * values), 1.0)
