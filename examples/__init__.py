"""Runnable examples of the whole system, each on real data."""
