"""Versioned models on the file system: their artifacts, their stages and their history."""

from registry.records import ModelInfo, ModelMetadata, ModelStage
from registry.registry import ModelRegistry, get_model_registry

__all__ = ["ModelInfo", "ModelMetadata", "ModelRegistry", "ModelStage", "get_model_registry"]
