"""The commands on feature sets."""

from typing import Annotated, Any

import typer

from features.errors import FeaturesError, FeatureSetError
from features.feature_sets import (
    InstalledFeatureSet,
    check_feature_set,
    feature_set_names,
    find_feature_set,
)
from registry.api import RegistryApi
from registry.errors import InvalidMetadataError, RegistryError
from registry.feature_sets import FeatureSetRecord
from registry.records import ModelInfo, ModelMetadata
from registry.signatures import SigningKey, manifest
from serve_app.cli import tables
from serve_app.cli.bar_sources import BarSource, checked
from serve_app.cli.connection import RegistryFolder, RegistryLocation, exit_on
from serve_app.cli.options import AsJson, Attribution, Name, SignWith, Version, with_options

app = typer.Typer(help="Show and check the installed feature sets.", no_args_is_help=True)

SetName = Annotated[str, typer.Argument(help="Name of the feature set.")]


@app.command(name="list")
def list_feature_sets(as_json: AsJson = False) -> None:
    """List the installed feature sets; one that cannot be used is listed with its problem."""
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(feature_set_names()):
        try:
            found.append(_fields(find_feature_set(name)))
        except FeatureSetError as error:
            found.append({"name": name, "problem": str(error)})
    if as_json:
        tables.show_json(found)
    else:
        tables.show(tables.feature_sets_table(found))


@app.command()
def show(name: SetName, as_json: AsJson = False) -> None:
    """Show a feature set: its names, its origin, and the modules that its digest covers."""
    with exit_on(FeatureSetError):
        fields = _fields(find_feature_set(name))
    if as_json:
        tables.show_json(fields)
    else:
        tables.show(tables.fields_table(fields))


@app.command()
@with_options
def check(
    name: SetName,
    cut_points: Annotated[
        int, typer.Option(min=2, help="Number of bars at which rows are compared.")
    ] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cut points.")] = 0,
    *,
    source: BarSource,
    registry: RegistryFolder = None,
    as_json: AsJson = False,
) -> None:
    """Check on real bars that rows depend on their lookback only; exit code 1 if they do not."""
    with exit_on(FeaturesError):
        installed = find_feature_set(name)
        bars, origin = source.read(installed.feature_set, registry)
        report = check_feature_set(installed.feature_set, bars, cut_points=cut_points, seed=seed)
    if as_json:
        tables.show_json(
            {
                "name": report.name,
                "version": report.version,
                "lookback": report.lookback,
                "bars": report.bars,
                "source": origin,
                "cut_points": report.cut_points,
                "seed": report.seed,
                "violation": None if report.violation is None else str(report.violation),
            }
        )
    elif report.violation is None:
        typer.echo(
            f"{name} {report.version} keeps all rules on {report.bars} bars of {origin}, at "
            f"{report.cut_points} cut points"
        )
    else:
        typer.echo(f"{name} {report.version} breaks a rule: {report.violation}", err=True)
    if report.violation is not None:
        raise typer.Exit(1)


@app.command()
@with_options
def accept(
    name: Name,
    version: Version,
    sign_with: SignWith = None,
    *,
    source: BarSource,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Accept the installed source of a version's feature set, after a check on real bars.

    A version serves only with the source that it was registered with. Accept another one only if
    the change does not alter its rows: the check cannot compare them with those of the old source.
    The signatures of the version are replaced, since they cover its feature set.
    """
    signing_key = None
    if sign_with is not None:
        with exit_on(RegistryError):
            signing_key = SigningKey(sign_with)

    async def find(registry: RegistryApi) -> ModelMetadata:
        return (await registry.get_model(name, version)).metadata

    recorded = location.run(find).feature_set
    if recorded is None:
        typer.echo(
            f"error: {name}:{version} names no feature set; register a new version with "
            f"--feature-set",
            err=True,
        )
        raise typer.Exit(1)
    accepted = checked(recorded.name, source, location.registry)

    async def accept_for(registry: RegistryApi) -> ModelInfo:
        present = (await registry.get_model(name, version)).metadata
        changed = _with_feature_set(present, accepted)
        await registry.accept_feature_set(
            name,
            version,
            accepted,
            signing_key.sign(manifest(changed)) if signing_key else {},
            signing_key.sign(manifest(changed, derived=True))
            if signing_key and changed.derived
            else {},
            by=attribution.by,
            reason=attribution.reason,
        )
        return await registry.get_model(name, version)

    info = location.run(accept_for)
    if as_json:
        tables.show_json(tables.fields(info))
        return
    typer.echo(
        f"{name}:{version} serves with {accepted}, sha256 {accepted.sha256}, checked on "
        f"{accepted.checked_on}"
    )


def _with_feature_set(present: ModelMetadata, accepted: FeatureSetRecord) -> ModelMetadata:
    """Return the metadata with another feature set, of as many features."""
    if len(accepted.feature_names) != present.input_shape[-1]:
        raise InvalidMetadataError(
            f"{present.name}:{present.version}",
            f"expected a feature set of {present.input_shape[-1]} features, as many as the model "
            f"takes, received {accepted} of {len(accepted.feature_names)}; register a new version",
        )
    return present.model_copy(update={"feature_set": accepted})


def _fields(installed: InstalledFeatureSet) -> dict[str, Any]:
    """Return what is known of a feature set, for JSON and tables."""
    feature_set = installed.feature_set
    return {
        "name": feature_set.name,
        "version": feature_set.version,
        "timeframe": feature_set.timeframe.name,
        "lookback": feature_set.lookback,
        "features": len(feature_set.feature_names),
        "feature_names": list(feature_set.feature_names),
        "origin": installed.origin,
        "sha256": installed.source.sha256,
        "modules": list(installed.source.modules),
    }
