"""Helpers that tests and benchmarks share: clusters, load, metrics, a fake server, small models."""
