"""Which version serves a request. Pure: no IO, no Ray."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from registry.records import STAGE_NAMES, ModelMetadata, ModelStage
from serve_app.errors import NotServedError
from serve_app.experiments.records import Variant
from serve_app.experiments.running import RunningExperiment
from serve_app.versions import VersionRef


@dataclass(frozen=True, kw_only=True)
class RoutingTable:
    """The served versions, and the default model for requests that name none."""

    default_model: str
    versions: Sequence[ModelMetadata] = ()
    stages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Version by model and stage name, as served here, regardless of later changes in the
    registry."""
    pinned: frozenset[VersionRef] = frozenset()
    """The versions that must be loaded for the server to be healthy."""
    loads_on_demand: bool = False
    """Whether a request for another registered version loads that version."""
    experiments: Mapping[str, RunningExperiment] = field(default_factory=dict)
    """The running experiments by model; they split its requests that name no version."""
    pending: frozenset[VersionRef] = frozenset()
    """The versions that are served with their previous settings until the changed ones load."""
    problems: Mapping[VersionRef, str] = field(default_factory=dict)
    """Why a version has not been loaded with its present settings, where that was tried."""

    @cached_property
    def _by_reference(self) -> Mapping[tuple[str, str], ModelMetadata]:
        """Return the versions by (model, version) and by (model, stage name)."""
        table: dict[tuple[str, str], ModelMetadata] = {
            VersionRef.of(metadata): metadata for metadata in self.versions
        }
        table |= {
            (model, stage): table[model, version]
            for model, holders in self.stages.items()
            for stage, version in holders.items()
        }
        return MappingProxyType(table)

    def stage_of(self, metadata: ModelMetadata) -> ModelStage:
        """Return the stage that points at a version here.

        A version without one keeps the registry's stage for it unless that is a served stage.
        """
        for name, version in self.stages.get(metadata.name, {}).items():
            if version == metadata.version:
                return STAGE_NAMES[name]
        is_served_stage = metadata.stage in STAGE_NAMES.values()
        return ModelStage.NONE if is_served_stage else metadata.stage

    def choose(self, model: str | None, reference: str | None) -> ModelMetadata:
        """Return the version that serves a request: the named one, by default production.

        Raises:
            NotServedError: this server has no such version; the error lists those that it serves.
        """
        name = self.default_model if model is None else model
        wanted = "production" if reference is None else reference
        try:
            return self._by_reference[name, wanted]
        except KeyError:
            raise NotServedError(name, wanted, self.served) from None

    def experiment(self, model: str | None, reference: str | None) -> RunningExperiment | None:
        """Return the experiment that a request is part of, None if it names a version."""
        if reference is not None:
            return None
        return self.experiments.get(self.default_model if model is None else model)

    def variant(self, running: RunningExperiment, variant: Variant) -> ModelMetadata:
        """Return the version of a variant of a running experiment."""
        definition = running.definition
        if variant is Variant.CONTROL:
            return self.choose(definition.control_model_name, definition.control_model_version)
        return self.choose(definition.treatment_model_name, definition.treatment_model_version)

    @cached_property
    def refs(self) -> tuple[VersionRef, ...]:
        """Return a reference to every served version."""
        return tuple(VersionRef.of(metadata) for metadata in self.versions)

    @cached_property
    def largest_window(self) -> int:
        """Return the number of values in the largest window of a served version."""
        return max((math.prod(metadata.input_shape) for metadata in self.versions), default=0)

    @cached_property
    def served(self) -> tuple[str, ...]:
        """Return every served version as `model:version`."""
        return tuple(str(ref) for ref in self.refs)
