"""Network classes by model type, and their checkpoints."""

from registry.architectures.catalogue import ARCHITECTURES, find_architecture
from registry.architectures.checkpoint import build_network, load_checkpoint, save_checkpoint
from registry.architectures.hybrid_cnn_lstm import HybridCNNLSTM
from registry.architectures.order_book_transformer import OrderBookTransformer
from registry.architectures.outputs import OUTPUT_NAMES, NetworkOutput
from registry.architectures.temporal_convolution import TemporalConvNet

__all__ = [
    "ARCHITECTURES",
    "OUTPUT_NAMES",
    "HybridCNNLSTM",
    "NetworkOutput",
    "OrderBookTransformer",
    "TemporalConvNet",
    "build_network",
    "find_architecture",
    "load_checkpoint",
    "save_checkpoint",
]
