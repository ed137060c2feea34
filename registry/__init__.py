"""Versioned models on the file system: what was trained, what serves, and the proof of it."""

from registry.records import ModelInfo, ModelMetadata, ModelStage
from registry.registry import ModelRegistry, get_model_registry

__all__ = ["ModelInfo", "ModelMetadata", "ModelRegistry", "ModelStage", "get_model_registry"]
