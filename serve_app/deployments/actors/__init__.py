"""Detached actors on the head node and their clients: the registry and the experiment log."""
