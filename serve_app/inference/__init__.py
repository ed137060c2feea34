"""From a model's outputs to predictions, without Ray."""
