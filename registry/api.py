"""The interface of a registry, implemented over a folder and over a cluster's registry actor.

Every method is marked as a `change` or a `read`. A client that sends calls over a network sends a
change at most once, since repeating it might undo a later change, and may retry a read.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any, Protocol, TypeVar

from registry.comparison import Comparison
from registry.feature_sets import FeatureSetRecord
from registry.records import Finding, HistoryEntry, ModelInfo, ModelMetadata, ModelStage

_Method = TypeVar("_Method", bound=Callable[..., Any])


class Access(Enum):
    """The effect of a method, which decides whether a call may be retried."""

    READ = auto()
    CHANGE = auto()


def access_of(method: Callable[..., object]) -> Access | None:
    """Return the effect that a method is marked with, None if it is not marked."""
    access: Access | None = getattr(method, "access", None)
    return access


def _mark(method: _Method, access: Access) -> _Method:
    if access_of(method) is not None:
        raise TypeError(f"{method.__name__} is marked twice; mark it as a change or a read")
    marked: Any = method
    marked.access = access
    return method


def read(method: _Method) -> _Method:
    """Mark a method that may be called again after its response was lost."""
    return _mark(method, Access.READ)


def change(method: _Method) -> _Method:
    """Mark a method that must not be called again after its response was lost."""
    return _mark(method, Access.CHANGE)


class RegistryApi(Protocol):
    """Versioned models with their stages, artifacts and history.

    Every method raises a `registry.errors.RegistryError` that states what was expected and what
    was received. Changes take `by`, the author (by default the process's user and host), and
    `reason`; both are kept in the model's history.
    """

    @change
    async def register_model(
        self,
        name: str,
        version: str,
        model_path: Path | str,
        model_type: str,
        description: str = "",
        *,
        framework: str = "pytorch",
        metrics: Mapping[str, float] | None = None,
        training_params: Mapping[str, Any] | None = None,
        dataset_info: Mapping[str, Any] | None = None,
        input_shape: Sequence[int] = (60, 110),
        output_names: Mapping[str, str] | None = None,
        label_map: Mapping[int, str] | None = None,
        tags: Sequence[str] = (),
        artifacts: Mapping[str, Path | str] | None = None,
        feature_set: FeatureSetRecord | None = None,
        signatures: Mapping[str, str] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Copy the files into the registry as a new, immutable version.

        Args:
            name: the model's name: letters, digits, `_` and `-`.
            version: a semantic version, for example `1.0.0`.
            model_path: a checkpoint (`.pt`, state dict only) or an ONNX file (`.onnx`).
            model_type: the network's class, for example `HybridCNNLSTM`.
            description: a description of what distinguishes this version.
            framework: the framework that trained the model.
            metrics: metrics by name.
            training_params: the parameters of the training. Here, in the metrics and in
                dataset_info, values of NumPy, tuples, dates and paths are stored as JSON.
            dataset_info: the training data; `dead_band`, `horizon_bars` and `missing_values`
                (whether NaN is a missing value) belong here.
            input_shape: the shape of one sample without the batch axis, (timesteps, features), or
                (features,) for a model of flat rows.
            output_names: the model's output name by meaning; by default the outputs of an ONNX
                file that are named like meanings, otherwise the meanings themselves.
            label_map: HOLD, BUY or SELL by class index, for two or three classes; by default the
                names of the classes in an ONNX file, otherwise HOLD, BUY and SELL for 0, 1 and 2.
            tags: search keywords.
            artifacts: further files by artifact name, for example `model.onnx`.
            feature_set: the feature set that computes the windows, with the bars on which it
                passed its check; see `serve_app.feature_sets.checked_record`.
            signatures: signatures over the manifest of the version, see `registry.signatures`.
            by: the author of the registration.
            reason: the reason for the registration.

        Returns:
            The new version, or the published one if its content is identical.

        Raises:
            VersionExistsError: the version is published with different content.
            DeletedVersionError: a version with this number was deleted.
            UnreadableArtifactError: a file is a pickle that would run code, or an ONNX model with
                weights in other files that cannot be packed.
            SignatureError: a signature is not valid, or one that is required is missing.
            MissingArtifactError, InvalidNameError, InvalidMetadataError: see their messages.
        """

    @read
    async def get_model(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        """Return the given version, or the one in `stage`; by default production, else the latest.

        Raises:
            UnknownModelError, UnknownVersionError: it does not exist; the error lists what does.
            EmptyStageError: no version is in the stage.
        """

    @read
    async def get_production_model(self, name: str) -> ModelInfo | None:
        """Return the version in Production, None if there is none."""

    @read
    async def get_staging_model(self, name: str) -> ModelInfo | None:
        """Return the version in Staging, None if there is none."""

    @read
    async def get_model_metadata(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelMetadata:
        """Return the metadata of the version that `get_model` returns."""

    @read
    async def list_models(self, name: str | None = None) -> list[ModelInfo]:
        """Return every version of one model, or of all, sorted by name and precedence."""

    @change
    async def set_model_stage(
        self,
        name: str,
        version: str,
        stage: ModelStage,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Move a version to a stage; Production and Staging each hold at most one version.

        A version that enters either is loaded and run first. The version that leaves Production is
        archived; the one that leaves Staging returns to None.

        Raises:
            ArtifactError: the files are damaged, or the model's outputs are not a prediction.
            StageHeldError: the version is in Production; promote another one instead.
        """

    @read
    async def try_out(self, name: str, version: str) -> None:
        """Load and run a version, as before it enters a stage, without changing anything.

        Raises:
            ArtifactError: the files are damaged, or the model's outputs are not a prediction.
        """

    @change
    async def promote_to_production(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Move a version to Production; see `set_model_stage`."""

    @change
    async def rollback(self, name: str, *, by: str | None = None, reason: str = "") -> ModelInfo:
        """Return to the production version before the current one, and return that version.

        A repeated rollback goes further back, never forward. Deleted and retired versions are
        skipped.

        Raises:
            NothingToRollBackError: no such version is left.
            ArtifactError: the version can no longer be loaded.
        """

    @change
    async def retire_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Archive a version, which is then in no stage.

        Raises:
            StageHeldError: it is in Production.
        """

    @change
    async def delete_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Remove a version permanently; its number cannot be reused, since replicas may serve it.

        Raises:
            StageHeldError: it is in Production or Staging.
        """

    @change
    async def update_metrics(
        self,
        name: str,
        version: str,
        metrics: Mapping[str, float],
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Add metrics to a version; a metric of the same name is replaced."""

    @change
    async def add_artifacts(
        self,
        name: str,
        version: str,
        artifacts: Mapping[str, Path | str],
        optimization: Mapping[str, Any],
        serving_artifact: str | None = None,
        *,
        derived_signatures: Mapping[str, str] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Add optimised files and their evidence to a published version, in one change.

        Published artifacts do not change. Running replicas keep the artifact that they loaded;
        those of the next deployment load `serving_artifact`.

        Args:
            name: the model's name.
            version: the version.
            artifacts: the files by artifact name; a published one with identical content is
                skipped.
            optimization: the evidence, which replaces that of an earlier optimisation.
            serving_artifact: the artifact that serves from now on, an old or a new one; it is
                loaded and run first. None means model.onnx if it exists, otherwise model.pt.
            derived_signatures: signatures over the manifest that includes the new files.
            by: the author of the change.
            reason: the reason for the change.

        Raises:
            SignatureError: a signature is not valid, or one that is required is missing.
            VersionExistsError: an artifact of that name is published with different content.
            ArtifactError: the serving artifact does not load, or its outputs are not a prediction.
            MissingArtifactError, InvalidNameError, InvalidMetadataError: see their messages.
        """

    @change
    async def pin_artifact(
        self,
        name: str,
        version: str,
        artifact: str | None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Select the artifact that serves a version; it is loaded and run first.

        None means model.onnx if it exists, otherwise model.pt. Running replicas keep the artifact
        that they loaded.

        Raises:
            MissingArtifactError: the version has no artifact of that name.
            ArtifactError: it does not load, or its outputs are not a prediction.
        """

    @change
    async def sign_version(
        self,
        name: str,
        version: str,
        signatures: Mapping[str, str],
        derived_signatures: Mapping[str, str] | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Add signatures over the manifests of a version; see `registry.signatures`.

        Raises:
            SignatureError: a signature is not valid for this version.
        """

    @change
    async def accept_feature_set(
        self,
        name: str,
        version: str,
        feature_set: FeatureSetRecord,
        signatures: Mapping[str, str] | None = None,
        derived_signatures: Mapping[str, str] | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Record another feature set, or another state of its source, for a version.

        The signatures of the version cover its feature set, so they are replaced as well.

        Raises:
            InvalidMetadataError: it has not as many features as the model takes.
            SignatureError: a signature is not valid, or one that is required is missing.
        """

    @read
    async def compare_models(self, name: str, version1: str, version2: str) -> Comparison:
        """Return the metrics and sizes of two versions; differences are version2 - version1."""

    @read
    async def history(self, name: str) -> list[HistoryEntry]:
        """Return all changes of the model, oldest first."""

    @read
    async def production_at(self, name: str, time: datetime) -> str | None:
        """Return the version in Production at `time` (with a time zone), None before the first."""

    @read
    async def verify(self, name: str | None = None) -> list[Finding]:
        """Return what is missing, modified or left over in the folder, of one model or of all.

        Every artifact is read and compared with its sha256.
        """

    @read
    async def repair(self, name: str | None = None) -> list[Finding]:
        """Repair what can be repaired without loss, and return the findings that were repaired.

        It changes no version, only what interrupted changes left behind, so it may be retried.
        """

    @read
    async def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, verified against the sha256 in the metadata."""


def _methods(access: Access) -> frozenset[str]:
    return frozenset(
        name for name, member in vars(RegistryApi).items() if access_of(member) is access
    )


CHANGES = _methods(Access.CHANGE)
"""The names of the methods that must not be retried."""

READS = _methods(Access.READ)
"""The names of the methods that may be retried."""
