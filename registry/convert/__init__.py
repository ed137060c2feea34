"""Converts models of scikit-learn, LightGBM, XGBoost and CatBoost to ONNX, and verifies them.

This package runs in the environment of the trainer; the server never imports it. The libraries are
extras, imported when used.
"""

from registry.convert.conversion import Conversion, convert
from registry.convert.errors import ConversionError

__all__ = ["Conversion", "ConversionError", "convert"]
