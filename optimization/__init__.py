"""Export, quantise and verify a trained network, and search for its fastest file."""

import os

# ONNX Runtime reads it on import; otherwise it keeps a telemetry database below ~/.cache.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from optimization.optimizer import ONNXOptimizer, get_onnx_optimizer

__all__ = ["ONNXOptimizer", "get_onnx_optimizer"]
