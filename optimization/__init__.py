"""From a trained network to a fast, proven file: export, quantisation, search and the evidence."""

from optimization.optimizer import ONNXOptimizer, get_onnx_optimizer

__all__ = ["ONNXOptimizer", "get_onnx_optimizer"]
