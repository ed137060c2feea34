"""The commands that change a registry."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from features.errors import FeaturesError
from registry import ModelInfo, ModelStage
from registry.api import RegistryApi
from registry.errors import RegistryError, UnknownModelError, UnknownVersionError
from registry.feature_sets import FeatureSetRecord
from registry.folder.drafts import MEANING, manifest_of_files
from registry.outputs import DIRECTION_OUTPUTS, QUANTILES
from registry.records import OUTPUTS, Finding, check_has_reference
from registry.registry import files_of
from registry.signatures import SigningKey
from serve_app.cli import parsing, tables
from serve_app.cli.bar_sources import BarSource, checked
from serve_app.cli.connection import RegistryLocation, exit_on
from serve_app.cli.options import (
    AsJson,
    Attribution,
    MaybeName,
    Name,
    SignWith,
    Version,
    with_options,
)


@with_options
def register(
    name: Name,
    version: Version,
    model_path: Annotated[
        Path, typer.Argument(help="A checkpoint (.pt, state dict only) or an ONNX file (.onnx).")
    ],
    model_type: Annotated[
        str, typer.Option("--type", help="Class of the network, for example HybridCNNLSTM.")
    ],
    artifact: Annotated[
        list[str] | None,
        typer.Option(help="Additional file, NAME=PATH, for example model.onnx=path; repeatable."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric of the version, NAME=NUMBER; repeatable.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Training parameter, NAME=JSON; repeatable.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="Property of the training data, NAME=JSON, such as dead_band and horizon_bars; "
            "repeatable."
        ),
    ] = None,
    trained_on: Annotated[
        Path | None,
        typer.Option(
            help="Dataset of modelctl dataset build that trained the version; its manifest's "
            "digest, horizon and dead band are recorded."
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag to find the version by; repeatable.")
    ] = None,
    description: Annotated[str, typer.Option(help="What distinguishes this version.")] = "",
    framework: Annotated[str, typer.Option(help="Library that trained the model.")] = "pytorch",
    input_shape: Annotated[
        str, typer.Option(help="Shape of one window, TIMESTEPS,FEATURES.")
    ] = "60,110",
    label_map: Annotated[
        str | None,
        typer.Option(
            help="Direction of each class index, for example 0=HOLD,1=BUY,2=SELL; default: the "
            "classes that an ONNX file names, otherwise this example."
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of an output in the model, MEANING=NAME; default: the meaning; repeatable. "
            "Once the direction's output is named, or the expected return of a model with a "
            "dead_band, the model has the named outputs only."
        ),
    ] = None,
    feature_set: Annotated[
        str | None,
        typer.Option(
            help="Installed feature set that computes the windows; it is checked on real bars."
        ),
    ] = None,
    sign_with: SignWith = None,
    *,
    checked_on: BarSource,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Publish the files of a model as a new version."""
    fields: dict[str, Any] = {
        "artifacts": parsing.path_pairs("--artifact", artifact),
        "metrics": parsing.number_pairs("--metric", metric),
        "training_params": parsing.json_pairs("--param", param),
        "dataset_info": parsing.json_pairs("--dataset", dataset),
        "tags": tag or [],
        "framework": framework,
        "input_shape": parsing.shape("--input-shape", input_shape),
        "by": attribution.by,
        "reason": attribution.reason,
    }
    if label_map is not None:
        fields["label_map"] = parsing.label_map("--label-map", label_map)
    if output:
        names = parsing.pairs("--output", output, "MEANING=NAME")
        is_classifier = any(meaning in DIRECTION_OUTPUTS for meaning in names)
        has_return = "expected_return" in names or QUANTILES in names
        is_regressor = has_return and "dead_band" in fields["dataset_info"]
        usual = () if is_classifier or is_regressor else OUTPUTS
        fields["output_names"] = {**{meaning: meaning for meaning in usual}, **names}
    if feature_set is not None:
        fields["feature_set"] = checked(feature_set, checked_on, location.registry)
    if trained_on is not None:
        with exit_on(FeaturesError):
            found = _dataset_info(trained_on, fields.get("feature_set"))
        fields["dataset_info"] = {**found, **fields["dataset_info"]}
    if sign_with:
        meaning = {key: fields[key] for key in MEANING if key in fields}
        with exit_on(RegistryError, OSError):
            fields["signatures"] = SigningKey(sign_with).sign(
                manifest_of_files(
                    name,
                    version,
                    files_of(model_path, fields["artifacts"]),
                    {"model_type": model_type, **meaning},
                )
            )

    async def publish(registry: RegistryApi) -> tuple[bool, ModelInfo]:
        existed = await _exists(registry, name, version)
        info = await registry.register_model(
            name, version, model_path, model_type, description, **fields
        )
        return existed, info

    existed, info = location.run(publish)
    unchanged = "is registered already with identical content: nothing to do"
    _report(info, unchanged if existed else "is registered", as_json)


RequireReference = Annotated[
    bool,
    typer.Option(
        "--require-reference-outputs",
        envvar="MODELCTL_REQUIRE_REFERENCE_OUTPUTS",
        help="Reject a version without the outputs of its training library.",
    ),
]


@with_options
def promote(
    name: Name,
    version: Version,
    require_reference_outputs: RequireReference = False,
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Move a version to production, after a trial run and a comparison with its training library.

    Without the library's outputs in windows.npz there is nothing to compare with: a warning says
    so. `modelctl convert` records them.
    """
    # Printed below, also if the registry is that of a cluster.
    logging.getLogger("registry.folder.stage_changes").addHandler(logging.NullHandler())

    async def promoted(registry: RegistryApi) -> ModelInfo:
        if require_reference_outputs:
            check_has_reference(await registry.get_model_metadata(name, version))
        await registry.promote_to_production(
            name, version, by=attribution.by, reason=attribution.reason
        )
        return await registry.get_model(name, version)

    info = location.run(promoted)
    if not info.metadata.reference_outputs:
        typer.echo(
            f"warning: {name}:{version} has no reference outputs, so nothing verifies that it "
            f"returns what its training library does; convert it with modelctl convert",
            err=True,
        )
    _report(info, "is in production", as_json)


@with_options
def stage(
    name: Name,
    version: Version,
    to: Annotated[
        ModelStage, typer.Option(help="Stage to move the version to.", case_sensitive=False)
    ] = ModelStage.STAGING,
    require_reference_outputs: RequireReference = False,
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Move a version to staging or to another stage, after a trial run."""

    async def moved(registry: RegistryApi) -> ModelInfo:
        if require_reference_outputs:
            check_has_reference(await registry.get_model_metadata(name, version))
        await registry.set_model_stage(
            name, version, to, by=attribution.by, reason=attribution.reason
        )
        return await registry.get_model(name, version)

    _report(location.run(moved), f"is now in stage {to}", as_json)


@with_options
def rollback(
    name: Name,
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Restore the previous production version; repeat to go back further."""
    info = location.run(
        lambda registry: registry.rollback(name, by=attribution.by, reason=attribution.reason)
    )
    _report(info, "is in production again", as_json)


@with_options
def retire(
    name: Name,
    version: Version,
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Archive a version, so that it holds no stage."""

    async def retired(registry: RegistryApi) -> ModelInfo:
        await registry.retire_model(name, version, by=attribution.by, reason=attribution.reason)
        return await registry.get_model(name, version)

    _report(location.run(retired), "is archived", as_json)


@with_options
def delete(
    name: Name,
    version: Version,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Delete a version and its files permanently; the version cannot be reused."""
    if as_json and not yes:
        raise typer.BadParameter(
            "--json: expected --yes with it, since a script cannot confirm; add --yes"
        )
    if not yes:
        location.run(lambda registry: registry.get_model(name, version))
        typer.confirm(f"Delete {name}:{version} permanently?", abort=True, err=True)
    location.run(
        lambda registry: registry.delete_model(
            name, version, by=attribution.by, reason=attribution.reason
        )
    )
    if as_json:
        tables.show_json({"name": name, "version": version, "deleted": True})
    else:
        typer.echo(f"{name}:{version} is deleted")


@with_options
def repair(name: MaybeName = None, *, location: RegistryLocation, as_json: AsJson = False) -> None:
    """Repair what can be repaired without loss; exit code 1 if findings remain."""

    async def repaired_and_left(registry: RegistryApi) -> tuple[list[Finding], list[Finding]]:
        return await registry.repair(name), await registry.verify(name)

    repaired, left = location.run(repaired_and_left)
    if as_json:
        tables.show_json(
            {
                "repaired": [finding.model_dump(mode="json") for finding in repaired],
                "left": [finding.model_dump(mode="json") for finding in left],
            }
        )
    else:
        for title, findings in (("repaired", repaired), ("requires manual repair", left)):
            if findings:
                tables.show(tables.findings_table(title, findings))
        if not repaired and not left:
            typer.echo("nothing to repair")
    if left:
        raise typer.Exit(1)


def _dataset_info(path: Path, feature_set: FeatureSetRecord | None) -> dict[str, Any]:
    """Return what the metadata records of a dataset, whose feature set must be the version's."""
    from features.datasets import Dataset
    from features.datasets.errors import OtherFeatureSetError

    manifest = Dataset.read(path).manifest
    trained = manifest.feature_set
    if feature_set is None or feature_set.sha256 != trained.sha256:
        used = "none" if feature_set is None else f"{feature_set}, sha256 {feature_set.sha256}"
        trained_with = f"{trained.name} {trained.version}, sha256 {trained.sha256}"
        raise OtherFeatureSetError(str(path), trained_with, used)
    return manifest.dataset_info


async def _exists(registry: RegistryApi, name: str, version: str) -> bool:
    try:
        await registry.get_model(name, version)
    except (UnknownModelError, UnknownVersionError):
        return False
    return True


def _report(info: ModelInfo, event: str, as_json: bool) -> None:
    if as_json:
        tables.show_json(tables.fields(info))
    else:
        typer.echo(f"{info.metadata.name}:{info.metadata.version} {event}")
