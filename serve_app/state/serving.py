"""What this application serves, as one durable value, and how it is read. No IO, no Ray.

`serve_app.state.transitions` defines every change of it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from registry.predictors import choose_artifact
from registry.records import ModelMetadata
from serve_app.errors import ServingStateError
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import AppSettings, VersionSettings
from serve_app.state.routing import RoutingTable
from serve_app.versions import VersionRef

Stages = dict[str, dict[str, str]]
"""Version by model and stage: {"hybrid_cnn_lstm": {"production": "1.0.0"}}."""

RENAMED_KEYS = {
    "batching": {"crowded_wait_timeout_s": "busy_wait_timeout_s"},
    "definition": {"exposure_stages": "exposure_steps", "stage_hours": "exposure_step_hours"},
}
"""The keys renamed in schema version 2, by the object that contains them."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Load(_Value):
    """The settings and the artifact that a version is loaded with.

    A change requires new replicas.
    """

    settings: VersionSettings
    artifact: str
    """The artifact's sha256; `modelctl pin` selects another artifact of the same version."""

    @property
    def digest(self) -> str:
        """Return a short digest, by which another load of the same version differs."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]


class LaunchId(NamedTuple):
    """The replicas of a version that are launched together, apart from any others of it."""

    version: VersionRef
    digest: str = ""
    """The digest of the load that replaced another one; empty for the first load of a version."""

    def __str__(self) -> str:
        return f"{self.version}:{self.digest}" if self.digest else str(self.version)


class ServedVersion(_Value):
    """A version that is loaded or is to be loaded."""

    metadata: ModelMetadata
    settings: VersionSettings
    launched: Load | None = None
    """What its replicas were last started with; None before they are started."""
    digest: str = ""
    """The digest in the id of its launch."""
    ready: bool = False
    """Whether these replicas have all run, so that routers may use them instead of earlier ones."""
    problem: str | None = None
    """Why it was not loaded the last time; None once it is loaded."""
    replaces: "ServedVersion | None" = None
    """The same version with the load that serves until this one is loaded in every router."""
    leaving: bool = False
    """Whether it is no longer declared; it is then removed once no stage points at it."""

    @property
    def load(self) -> Load:
        """Return the settings and the artifact to load it with."""
        artifact = self.metadata.artifacts[choose_artifact(self.metadata)]
        return Load(settings=self.settings, artifact=artifact)

    @property
    def ref(self) -> VersionRef:
        """Return the reference to this version."""
        return VersionRef.of(self.metadata)

    @property
    def launch_id(self) -> LaunchId:
        """Return the id of its replicas."""
        return LaunchId(self.ref, self.digest)

    @property
    def loads(self) -> "tuple[ServedVersion, ...]":
        """Return the version as it is to be loaded, and as it is loaded if that differs."""
        return (self,) if self.replaces is None else (self, self.replaces)

    @property
    def takes_over(self) -> bool:
        """Return whether a router may use it as soon as it responds there."""
        return self.replaces is None or self.ready or self.settings.placement == "router"

    def succeeded_by(self, changed: "ServedVersion") -> "ServedVersion":
        """Return `changed`, a declaration of this version, with what already runs of it.

        A changed load has replicas of its own, beside those that serve until they are replaced.
        """
        if changed.load == self.load:
            return self.model_copy(update={"metadata": changed.metadata, "leaving": False})
        may_serve = self.ready or self.problem is None
        serving = self.replaces or (self if may_serve else None)
        if serving is None:
            return changed.model_copy(update={"digest": changed.load.digest})
        serving = serving.model_copy(update={"problem": None})
        if changed.load == serving.load:
            return serving.model_copy(update={"metadata": changed.metadata, "leaving": False})
        return changed.model_copy(update={"digest": changed.load.digest, "replaces": serving})


class Declaration(_Value):
    """A configuration with its references resolved at the time it took effect."""

    settings: AppSettings
    versions: tuple[ServedVersion, ...]
    stages: Stages
    """The version declared for each stage of the declared models, if one is declared."""


class ServingState(_Value):
    """The served versions, and the version that each stage points at, in this application.

    A stage here determines where its requests go, regardless of later changes in the registry.
    """

    schema_version: Literal[2] = 2
    revision: int = 1
    """The number of this state; it grows with every change."""
    settings: AppSettings
    versions: tuple[ServedVersion, ...]
    stages: Stages
    """The version that serves the traffic of each stage."""
    targets: Stages
    """The version that will serve it once that version is loaded."""
    experiments: tuple[RunningExperiment, ...] = ()
    """The experiments that split the traffic of a model."""

    @model_validator(mode="before")
    @classmethod
    def _migrate(cls, document: object) -> object:
        return migrate(document) if isinstance(document, dict) else document

    @property
    def refs(self) -> frozenset[VersionRef]:
        """Return the reference to every version."""
        return frozenset(served.ref for served in self.versions)

    def find(self, ref: VersionRef) -> ServedVersion | None:
        """Return a version, None if it is not served."""
        return next((served for served in self.versions if served.ref == ref), None)

    def routing_table(self) -> RoutingTable:
        """Return the table by which routers route requests."""
        return RoutingTable(
            default_model=self.settings.usual_model,
            versions=[served.metadata for served in self.versions],
            stages=self.stages,
            pinned=frozenset(served.ref for served in self.versions if self.is_pinned(served)),
            loads_on_demand=self.settings.loading.on_demand,
            experiments={
                running.definition.control_model_name: running for running in self.experiments
            },
            pending=frozenset(served.ref for served in self.versions if served.replaces),
            problems={served.ref: served.problem for served in self.versions if served.problem},
        )

    def is_pinned(self, version: ServedVersion) -> bool:
        """Return whether a version stays loaded without requests.

        A declared number, a stage and an experiment pin a version.
        """
        by_number = (version.metadata.name, version.metadata.version) in self._declared
        is_variant = any(version.ref in running.refs for running in self.experiments)
        return is_variant or bool(self._stages_of(version)) or (by_number and not version.leaving)

    def is_declared(self, version: ServedVersion) -> bool:
        """Return whether the configuration declares it, by number or by a stage that it has."""
        references = {version.metadata.version, *self._stages_of(version)}
        return any((version.metadata.name, reference) in self._declared for reference in references)

    @property
    def _declared(self) -> frozenset[tuple[str, str]]:
        return frozenset((declared.model, declared.version) for declared in self.settings.versions)

    def _stages_of(self, version: ServedVersion) -> set[str]:
        """Return the stages that point at it or are about to."""
        model, number = version.metadata.name, version.metadata.version
        holders = [*self.stages.get(model, {}).items(), *self.targets.get(model, {}).items()]
        return {stage for stage, holder in holders if holder == number}


def read_state(content: bytes, path: Path) -> ServingState:
    """Return the state that is stored as JSON, including one of schema version 1.

    Raises:
        ServingStateError: the content is not a serving state, or a newer release wrote it.
    """
    try:
        return ServingState.model_validate_json(content)
    except ValidationError as error:
        problem = "; ".join(f"{found['loc']}: {found['msg']}" for found in error.errors()[:3])
        raise ServingStateError(str(path), problem) from error


def migrate(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a stored document in schema version 2; only version 1 is converted.

    Version 1 has other names for some keys of `batching`, in the settings and in each version, and
    for two keys of an experiment's `definition`.
    """
    if document.get("schema_version") != 1:
        return document
    return {**_with_renamed_keys(document), "schema_version": 2}


def _with_renamed_keys(value: Any) -> Any:  # noqa: ANN401  any JSON value
    if isinstance(value, list):
        return [_with_renamed_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {
        # A version's metadata is as registered; what its author wrote there may have any keys.
        key: item if key == "metadata" else _with_renamed_keys(item)
        for key, item in value.items()
    }
    for name, renamed in RENAMED_KEYS.items():
        if isinstance(part := changed.get(name), dict):
            changed[name] = {renamed.get(key, key): item for key, item in part.items()}
    return changed
