"""The verdict on an experiment whose variants fail, permanently or for a while.

Simulated traffic passes through the circuit breakers of two routers into summaries, which are
analysed once per second, as the server does.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.analysis import Analysis, analyse
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.circuit_breaker import (
    Admission,
    Breaker,
    BreakerSettings,
    admit,
    on_failure,
    on_success,
)
from serve_app.experiments.recent_traffic import RecentTraffic
from serve_app.experiments.records import CIRCUIT_OPEN, Variant
from serve_app.experiments.summary import VariantSummary
from tests.serve_app.experiments.factories import START, definition, outcome, prediction

pytestmark = pytest.mark.slow

SHARE = 0.1
MADE = definition(control_traffic=1 - SHARE, treatment_traffic=SHARE, horizon_s=60.0)
CLOCK = BlockClock.of(MADE, START)
SETTINGS = BreakerSettings()

Fails = Callable[[float, bool], bool]
"""Whether a run fails, given its time in seconds and whether it is treatment's."""


class Traffic:
    """Requests at random times, each served by the variant that it is assigned to."""

    def __init__(self, seed: int, rate: float, fails: Fails) -> None:
        self.random = np.random.default_rng(seed)
        self.rate, self.fails = rate, fails
        self.breakers = [Breaker(), Breaker()]
        self.blocks: dict[int, Block] = {}
        self.recent = RecentTraffic()
        self.time_s, self.requests = 0.0, 0

    def run_until(self, end_s: float) -> None:
        while True:
            self.time_s += self.random.exponential(1 / self.rate)
            if self.time_s >= end_s:
                self.time_s = end_s
                return
            self.requests += 1
            self._serve(treated=self.random.random() < SHARE)

    def analyse(self, *, at_planned_end: bool = False) -> Analysis:
        now_s = START.timestamp() + self.time_s
        return analyse(
            MADE,
            CLOCK,
            list(self.blocks.values()),
            at_planned_end=at_planned_end,
            recent=self.recent.windows(now_s),
        )

    def _serve(self, *, treated: bool) -> None:
        error = self._run_treatment() if treated else self._failure(treated=False)
        record = prediction(
            self.time_s,
            prediction_id=str(self.requests),
            variant=Variant.TREATMENT if treated else Variant.CONTROL,
            treatment_share=SHARE,
            latency_ms=self.random.gamma(4.0, 0.5),
            **({"error": error} if error else {}),
        )
        self.recent.add(record)
        variant = self._variant(record.time, treated=treated)
        variant.add_prediction(record)
        market = 0.001 if self.random.random() < 0.5 else -0.001
        variant.add_outcome(record, outcome(market, self.time_s + 60), MADE.dead_band)

    def _run_treatment(self) -> str | None:
        router = self.random.integers(len(self.breakers))
        admission, after = admit(self.breakers[router], self.time_s, SETTINGS)
        self.breakers[router] = after
        if admission is Admission.REJECT:
            return CIRCUIT_OPEN
        failure = self._failure(treated=True)
        step = on_failure if failure else on_success
        self.breakers[router] = step(self.breakers[router], self.time_s, SETTINGS)
        return failure

    def _failure(self, *, treated: bool) -> str | None:
        return "prediction_failed" if self.fails(self.time_s, treated) else None

    def _variant(self, time, *, treated: bool) -> VariantSummary:
        key = CLOCK.block(time)
        block = self.blocks.setdefault(key, Block(block=key))
        return block.treatment if treated else block.control


def first_verdict(traffic: Traffic, seconds: int) -> tuple[int, Analysis]:
    """Return the time and the analysis of the first verdict, or of the last analysis."""
    for second in range(1, seconds + 1):
        traffic.run_until(second)
        analysis = traffic.analyse()
        if analysis.recommendation.action != "continue":
            return second, analysis
    return seconds, traffic.analyse(at_planned_end=True)


@pytest.mark.parametrize(("rate", "at_most_s"), [(20, 30), (50, 20), (200, 15), (1000, 15)])
def test_failing_treatment_rolls_back(rate, at_most_s):
    """A treatment that always fails is rolled back within seconds."""
    for seed in range(3):
        second, analysis = first_verdict(Traffic(seed, rate, lambda _, treated: treated), 60)
        assert analysis.recommendation.action == "rollback"
        assert "fails too often" in analysis.recommendation.reasons[0]
        assert second <= at_most_s


@pytest.mark.parametrize(("rate", "begins_s"), [(50, 600), (20, 3600)])
def test_late_failure_rolls_back(rate, begins_s):
    """A treatment that begins to fail late is rolled back within a minute.

    Its blocks are long by then, and most of them are without failures.
    """
    traffic = Traffic(1, rate, lambda second, treated: treated and second >= begins_s)
    traffic.run_until(begins_s)
    assert traffic.analyse().recommendation.action == "continue"
    for second in range(begins_s + 1, begins_s + 61):
        traffic.run_until(second)
        analysis = traffic.analyse()
        if analysis.recommendation.action == "rollback":
            break
    assert analysis.recommendation.action == "rollback"
    assert "fails too often during the last minute" in analysis.recommendation.reasons[0]


def test_one_error_in_a_thousand_continues():
    """One error in a thousand predictions is no reason for a rollback."""
    _, analysis = first_verdict(
        Traffic(1, 50, lambda second, treated: treated and 10 <= second < 10.2), 60
    )
    assert analysis.evidence.errors.harm_p_value > 0.025
    assert analysis.recommendation.action == "continue"


@pytest.mark.parametrize("lasts_s", [3, 30])
def test_common_outage_continues(lasts_s):
    """An outage of both variants is evidence against neither.

    Treatment's breaker must not prolong the outage for treatment alone.
    """
    verdicts = 0
    for seed in range(8):
        begins_s = np.random.default_rng(seed).uniform(5, 30, size=2)
        traffic = Traffic(
            seed,
            20,
            lambda second, _, begins=begins_s: any(
                start <= second < start + lasts_s for start in begins
            ),
        )
        _, analysis = first_verdict(traffic, 45 + lasts_s)
        verdicts += analysis.recommendation.action != "continue"
        assert traffic.breakers[0].mode == "closed", "treatment was readmitted"
        assert analysis.evidence.errors.control > 0.01
    assert verdicts <= stats.binom.ppf(0.999, 8, 0.05)


def test_equal_error_rates_continue():
    """Variants with equal error rates lead to no verdict."""
    random = np.random.default_rng(4)
    verdicts = 0
    for seed in range(8):
        traffic = Traffic(seed, 20, lambda *_: random.random() < 0.05)
        verdicts += first_verdict(traffic, 90)[1].recommendation.action != "continue"
    assert verdicts <= stats.binom.ppf(0.999, 8, 0.05)
