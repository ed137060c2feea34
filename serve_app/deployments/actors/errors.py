"""Errors of reaching the cluster's registry actor, as one tree.

ClusterError
├── ClusterUnreachableError   no Ray cluster responds at the address
├── ForeignClusterError       another user listens on the address, on this machine
├── ClusterTokenError         the cluster rejects the token of this user
├── NoRegistryActorError      the cluster has no registry actor
├── SeveralRegistriesError    the cluster serves several registry folders
├── RegistryActorDownError    the actor is dead or does not recover from a crash
└── InterruptedChangeError    the actor died during a change, which may have been applied
"""

from collections.abc import Sequence


class ClusterError(Exception):
    """Base class of all errors of reaching the cluster's registry."""


class ClusterUnreachableError(ClusterError):
    """No Ray cluster responds at the address."""

    def __init__(self, address: str, problem: str) -> None:
        super().__init__(address, problem)
        self.address, self.problem = address, problem

    def __str__(self) -> str:
        return (
            f"no Ray cluster at {self.address}: {self.problem}; expected the address that "
            f"`ray start --head` printed, or auto on a machine of the cluster"
        )


class ForeignClusterError(ClusterError):
    """A program of another user of this machine listens on the address."""

    def __init__(self, address: str, users: Sequence[str]) -> None:
        super().__init__(address, tuple(users))
        self.address, self.users = address, tuple(users)

    def __str__(self) -> str:
        listener = " and ".join(self.users) or "no user of this machine"
        return (
            f"the address {self.address}: expected a cluster of this user, received a program of "
            f"{listener}, which would receive Ray's token; start your server, or name the user "
            f"that runs it: --server USER@{self.address}"
        )


class ClusterTokenError(ClusterError):
    """The cluster requires a token, and this user has none or another one."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} rejects the token; expected that of the user who "
            f"started the cluster: copy the file and name it with RAY_AUTH_TOKEN_PATH"
        )


class NoRegistryActorError(ClusterError):
    """The cluster runs, but has no registry actor."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return (
            f"no registry actor in the Ray cluster at {self.address}; start it with `serve deploy "
            f"serve_config.yaml`, or name the registry's folder with --registry"
        )


class SeveralRegistriesError(ClusterError):
    """The cluster serves several registry folders, so the address alone is ambiguous."""

    def __init__(self, address: str, folders: Sequence[str]) -> None:
        super().__init__(address, tuple(folders))
        self.address, self.folders = address, tuple(folders)

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} serves several registries: "
            f"{', '.join(self.folders)}; name one folder with --registry instead"
        )


class RegistryActorDownError(ClusterError):
    """The registry actor is dead or does not recover."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the registry actor does not respond: {self.problem}; nothing was changed; "
            f"retry, or start it with `serve deploy serve_config.yaml`"
        )


class InterruptedChangeError(ClusterError):
    """The registry actor died while it applied the change."""

    def __init__(self, method: str, model: str) -> None:
        super().__init__(method, model)
        self.method, self.model = method, model

    def __str__(self) -> str:
        return (
            f"the registry actor died during {self.method} of {self.model!r}: the change was "
            f"applied completely or not at all; check the model's history "
            f"(`modelctl history {self.model}`) before you retry"
        )
