"""From a model's artifact to predictions, in one process and without Ray."""
