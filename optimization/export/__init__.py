"""Export of a PyTorch network to one verified ONNX file."""
