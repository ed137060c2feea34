"""The search for the best file of a model, its evidence and its plot."""
