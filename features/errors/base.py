"""The base class of all errors of market data."""


class FeaturesError(Exception):
    """Base class of all errors of market data."""
