"""The circuit breakers of one router."""

from serve_app.data_plane.breakers import Breakers
from serve_app.experiments.circuit_breaker import Admission, BreakerSettings

SETTINGS = BreakerSettings(failures_in_a_row=2)


def test_breakers_are_independent():
    """The failures of one experiment's treatment leave the other experiments alone."""
    breakers = Breakers(SETTINGS, clock=lambda: 0.0)
    for _ in range(2):
        breakers.record("failing", succeeded=False)
    breakers.record("fine", succeeded=True)
    assert breakers.admit("failing") is Admission.REJECT
    assert breakers.admit("fine") is Admission.ADMIT
    assert breakers.tripped() == {"failing"}


def test_ended_experiments_lose_their_breaker():
    """An experiment that is created again under the same id starts with a closed breaker."""
    breakers = Breakers(SETTINGS, clock=lambda: 0.0)
    for _ in range(2):
        breakers.record("ended", succeeded=False)
    breakers.keep(["other"])
    assert breakers.tripped() == frozenset()
    assert breakers.admit("ended") is Admission.ADMIT
