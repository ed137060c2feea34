"""What the growth benchmark says of its costs."""

from benchmarks.growth.cost import Cost
from benchmarks.growth.run import by_size, median_ratio
from benchmarks.serving_peers.wrk import Load


def cost(size, number, p50_ms):
    load = Load(requests=10, seconds=1.0, percentiles_ms={50: p50_ms, 95: p50_ms})
    return Cost(
        dimension="versions",
        variant="placement: router",
        size=size,
        round=number,
        one=load,
        many=load,
        cpu_ms={"router": 1.0, "proxy": 0.5},
        idle_cores=0.1,
        memory_mb=100.0,
    )


def p50_ms(one):
    return one.one.percentiles_ms[50]


def test_ratio_per_round():
    """A ratio is taken within each round, so that a busy round counts on both sides."""
    fewer = [cost(1, 1, 2.0), cost(1, 2, 20.0), cost(1, 3, 2.0)]
    more = [cost(4, 3, 3.0), cost(4, 2, 30.0), cost(4, 1, 3.0)]
    assert median_ratio(more, fewer, p50_ms) == 1.5


def test_order_of_sizes():
    """Sizes are in order regardless of the order of the rounds."""
    found = by_size([cost(16, 1, 1.0), cost(1, 1, 1.0), cost(4, 2, 1.0), cost(1, 2, 1.0)])
    sizes = found["versions", "placement: router"]
    assert [(size, len(samples)) for size, samples in sizes.items()] == [(1, 2), (4, 1), (16, 1)]


def test_processor_time():
    """The processor time per request is that of all processes."""
    assert cost(1, 1, 1.0).total_cpu_ms == 1.5
