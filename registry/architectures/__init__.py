"""Network classes by model type, and their checkpoints."""

from registry.architectures.catalogue import ARCHITECTURES, find_architecture
from registry.architectures.checkpoint import build_network, load_checkpoint, save_checkpoint
from registry.architectures.hybrid_cnn_lstm import OUTPUT_NAMES, HybridCNNLSTM, NetworkOutput

__all__ = [
    "ARCHITECTURES",
    "OUTPUT_NAMES",
    "HybridCNNLSTM",
    "NetworkOutput",
    "build_network",
    "find_architecture",
    "load_checkpoint",
    "save_checkpoint",
]
