"""The effect of faults of the storage on predictions, and on acknowledged outcomes."""
