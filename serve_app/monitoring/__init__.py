"""Definitions of what the running system measures. Pure: no Ray."""
