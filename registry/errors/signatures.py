"""Errors of signatures and their keys."""

from pathlib import Path

from registry.errors.base import RegistryError


class SignatureError(RegistryError):
    """A version has no valid signature by a key that is required."""

    def __init__(self, version: str, expected: str, received: str) -> None:
        super().__init__(version, expected, received)
        self.version, self.expected, self.received = version, expected, received

    def __str__(self) -> str:
        return (
            f"{self.version} is not accepted: expected {self.expected}, received {self.received}; "
            f"compare the files with their source, then sign them with modelctl sign, or with "
            f"--sign-with when they are added"
        )


class SigningKeyError(RegistryError):
    """A file contains no private key to sign with."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"cannot use {self.path} as a signing key: {self.problem}; expected an Ed25519 private "
            f"key in PEM without a password: create one in a new file with modelctl key create"
        )
