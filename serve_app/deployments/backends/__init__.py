"""Backends that compute predictions: replicas of a version, or its model inside the router."""
