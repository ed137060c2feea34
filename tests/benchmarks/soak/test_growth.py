"""The growth of each role over a soak."""

import pytest

from benchmarks.soak.growth import Sample, growth
from benchmarks.soak.stack import Usage


def usage(own_mb, descriptors=10, cpu_s=0.0, processes=1):
    return Usage(
        processes=processes,
        pss_mb=2 * own_mb,
        own_mb=own_mb,
        descriptors=descriptors,
        threads=1,
        cpu_s=cpu_s,
    )


def samples(own_mb, **others):
    """Return a sample per 10 s of one role, whose memory is `own_mb` of the time."""
    return [
        Sample(float(at), {"router": usage(own_mb(at), cpu_s=at / 4), **others}, {})
        for at in range(10, 601, 10)
    ]


def test_warm_up():
    """What is used once, during the warm-up, is no growth; what follows is."""
    found = growth(samples(lambda at: 100 if at < 90 else 150), 100.0)
    assert found["router"].percent == 0
    found = growth(samples(lambda at: 100 if at < 300 else 110), 100.0)
    assert found["router"].percent == pytest.approx(10)


def test_outlier():
    """A moment in which versions overlap is no growth."""
    found = growth(samples(lambda at: 400 if at == 550 else 100), 100.0)
    assert (found["router"].before_mb, found["router"].after_mb) == (100, 100)


def test_cpu():
    """The processor time is that of the time between the first and the last sample."""
    assert growth(samples(lambda at: 1), 100.0)["router"].cpu_percent == pytest.approx(25)


def test_passing_role():
    """A role without a process in one of the periods has no growth."""
    short = [
        Sample(float(at), {"router": usage(1), **({"worker": usage(1)} if at < 300 else {})}, {})
        for at in range(10, 601, 10)
    ]
    assert list(growth(short, 100.0)) == ["router"]


def test_sum():
    """The processes of one role count in sum."""
    both = Usage.sum([usage(100, descriptors=5), usage(50, descriptors=7)])
    assert (both.processes, both.own_mb, both.descriptors) == (2, 150, 12)


def test_no_memory():
    """A role that has allocated nothing has not grown."""
    assert growth(samples(lambda _: 0), 100.0)["router"].percent == 0
