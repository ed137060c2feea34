"""What can stand between a caller and the cluster's registry, as one tree.

ClusterError
├── ClusterUnreachableError   no Ray cluster answers at the address
├── NoRegistryActorError      the cluster has no registry actor
├── SeveralRegistriesError    the cluster serves several registry folders
├── RegistryActorDownError    the actor does not come back after a crash
└── InterruptedChangeError    the actor died during a change, which may have happened or not
"""

from collections.abc import Sequence


class ClusterError(Exception):
    """Base of what keeps the cluster's registry from answering."""


class ClusterUnreachableError(ClusterError):
    """No Ray cluster answers at the address."""

    def __init__(self, address: str, problem: str) -> None:
        super().__init__(address, problem)
        self.address, self.problem = address, problem

    def __str__(self) -> str:
        return (
            f"no Ray cluster at {self.address}: {self.problem}; expected the address that "
            f"`ray start --head` printed, or auto on a machine of the cluster"
        )


class NoRegistryActorError(ClusterError):
    """The cluster runs, but nothing serves a registry in it."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return (
            f"no registry actor in the Ray cluster at {self.address}; `serve deploy "
            f"serve_config.yaml` starts it, or name the registry's folder with --registry"
        )


class SeveralRegistriesError(ClusterError):
    """The cluster serves several registry folders, and none of them was named."""

    def __init__(self, address: str, folders: Sequence[str]) -> None:
        super().__init__(address, tuple(folders))
        self.address, self.folders = address, tuple(folders)

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} serves several registries: "
            f"{', '.join(self.folders)}; name the folder you mean with --registry instead"
        )


class RegistryActorDownError(ClusterError):
    """The registry actor is dead or does not come back."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the registry actor does not answer: {self.problem}; nothing was changed, "
            f"try again, or start it with `serve deploy serve_config.yaml`"
        )


class InterruptedChangeError(ClusterError):
    """The registry actor died while it made the change."""

    def __init__(self, method: str, model: str) -> None:
        super().__init__(method, model)
        self.method, self.model = method, model

    def __str__(self) -> str:
        return (
            f"the registry actor died during {self.method} of {self.model!r}: it happened as a "
            f"whole or not at all; see the model's history (`modelctl history {self.model}`) "
            f"before you try again"
        )
