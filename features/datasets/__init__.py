"""Point-in-time datasets: windows, labels and folds in which nothing is known too early."""

from features.datasets.building import build_dataset
from features.datasets.dataset import Dataset
from features.datasets.definition import DatasetDefinition
from features.datasets.folds import Fold
from features.datasets.manifest import Manifest

__all__ = ["Dataset", "DatasetDefinition", "Fold", "Manifest", "build_dataset"]
