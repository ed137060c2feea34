"""Network classes by model type, and their checkpoints; the only part of registry with torch."""

from registry.architectures.checkpoint import (
    ARCHITECTURES,
    build_network,
    load_checkpoint,
    save_checkpoint,
)
from registry.architectures.hybrid_cnn_lstm import OUTPUT_NAMES, HybridCNNLSTM, NetworkOutput

__all__ = [
    "ARCHITECTURES",
    "OUTPUT_NAMES",
    "HybridCNNLSTM",
    "NetworkOutput",
    "build_network",
    "load_checkpoint",
    "save_checkpoint",
]
