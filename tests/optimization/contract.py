"""The network and the keys that the tests of ONNXOptimizer share."""

from registry.architectures import HybridCNNLSTM

SHAPE = (1, 12, 6)
"""The shape of one window with its batch."""

BENCHMARK_KEYS = {
    *("latency_ms", "latency_std_ms", "p50_ms", "p95_ms", "p99_ms", "min_ms", "max_ms"),
    "throughput",
}
"""The keys of a benchmark's result."""


def new_network():
    """Return a network with random weights, large enough to quantise."""
    return HybridCNNLSTM(input_size=6, lstm_hidden_size=48)
