"""Errors of names, metadata, versions and their stages."""

from collections.abc import Sequence

from registry.errors.base import RegistryError


class InvalidNameError(RegistryError):
    """A model name, version, artifact name or other argument is not valid."""

    def __init__(self, kind: str, value: object, expected: str) -> None:
        super().__init__(kind, value, expected)
        self.kind, self.value, self.expected = kind, value, expected

    def __str__(self) -> str:
        return f"invalid {self.kind} {self.value!r}: expected {self.expected}"


class InvalidMetadataError(RegistryError):
    """Metadata does not conform to the schema."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return f"metadata of {self.where} is invalid: {self.problem}"


class SchemaVersionError(InvalidMetadataError):
    """Metadata has a schema version that this software does not support."""

    def __init__(self, where: str, expected: int, received: object) -> None:
        super().__init__(where, f"expected schema version {expected}, received {received!r}")
        self.args = (where, expected, received)
        self.expected, self.received = expected, received

    def __str__(self) -> str:
        return f"{super().__str__()}; read it with the software that wrote it"


class UnknownModelError(RegistryError):
    """No model with that name is registered."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        super().__init__(model, tuple(known))
        self.model, self.known = model, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"no model {self.model!r} in the registry; registered models: {known}"


class UnknownVersionError(RegistryError):
    """The model has no such version."""

    def __init__(self, model: str, version: str, known: Sequence[str]) -> None:
        super().__init__(model, version, tuple(known))
        self.model, self.version, self.known = model, version, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"model {self.model!r} has no version {self.version!r}; its versions: {known}"


class EmptyStageError(RegistryError):
    """No version of the model is in the stage."""

    def __init__(self, model: str, stage: str) -> None:
        super().__init__(model, stage)
        self.model, self.stage = model, stage

    def __str__(self) -> str:
        return (
            f"model {self.model!r} has no {self.stage} version; "
            f"set one with set_model_stage or promote_to_production"
        )


class VersionExistsError(RegistryError):
    """The version is already published with different content."""

    def __init__(self, model: str, version: str, published: str, offered: str) -> None:
        super().__init__(model, version, published, offered)
        self.model, self.version = model, version
        self.published, self.offered = published, offered

    def __str__(self) -> str:
        return (
            f"version {self.version} of model {self.model!r} is already published and immutable "
            f"(published {self.published}, offered {self.offered}); register a new version instead"
        )


class DeletedVersionError(RegistryError):
    """The version was deleted; its number is never reused, since replicas may still serve it."""

    def __init__(self, model: str, version: str, when: str, by: str) -> None:
        super().__init__(model, version, when, by)
        self.model, self.version, self.when, self.by = model, version, when, by

    def __str__(self) -> str:
        return (
            f"version {self.version} of model {self.model!r} was deleted at {self.when} by "
            f"{self.by}, and its number cannot be reused; register a new version"
        )


class StageHeldError(RegistryError):
    """The operation is not allowed while the version is in its stage."""

    def __init__(self, model: str, version: str, stage: str, operation: str) -> None:
        super().__init__(model, version, stage, operation)
        self.model, self.version, self.stage, self.operation = model, version, stage, operation

    def __str__(self) -> str:
        remedy = {
            "Production": "promote another version first",
            "Staging": "set another stage first",
        }[self.stage]
        return (
            f"cannot {self.operation} version {self.version} of model {self.model!r}: "
            f"it is in {self.stage}; {remedy}"
        )


class NothingToRollBackError(RegistryError):
    """No version was in production before the current one, or all of those are gone."""

    def __init__(self, model: str, current: str | None) -> None:
        super().__init__(model, current)
        self.model, self.current = model, current

    def __str__(self) -> str:
        return (
            f"cannot roll back model {self.model!r}: no production version before "
            f"{self.current or 'the first'} is left; promote a version instead"
        )
