"""The base class of all errors of the registry."""


class RegistryError(Exception):
    """Base class of all errors of the registry."""
