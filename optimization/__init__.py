"""From a trained network to a fast, proven file: export, quantisation, search and the evidence."""

import os

# Read when ONNX Runtime is imported, which else keeps a database below ~/.cache for its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from optimization.optimizer import ONNXOptimizer, get_onnx_optimizer

__all__ = ["ONNXOptimizer", "get_onnx_optimizer"]
