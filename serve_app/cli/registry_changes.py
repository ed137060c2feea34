"""The commands that change a registry."""

from pathlib import Path
from typing import Annotated, Any

import typer

from registry import ModelInfo, ModelStage
from registry.errors import UnknownModelError, UnknownVersionError
from registry.records import OUTPUTS, Finding
from serve_app.cli import options, tables
from serve_app.cli.connection import Folder, Registry, Server, ask
from serve_app.cli.options import AsJson, By, Name, Reason, Version


def register(
    name: Name,
    version: Version,
    model_path: Annotated[
        Path, typer.Argument(help="A checkpoint (.pt, state dict only) or an ONNX file (.onnx).")
    ],
    model_type: Annotated[
        str, typer.Option("--type", help="The network's class, such as HybridCNNLSTM.")
    ],
    artifact: Annotated[
        list[str] | None, typer.Option(help="A further file, NAME=PATH, such as model.onnx=path.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="A figure, NAME=NUMBER.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="How it was trained, NAME=JSON.")] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="On what, NAME=JSON; dead_band and horizon_bars go here."),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by.")] = None,
    description: Annotated[str, typer.Option(help="What distinguishes this version.")] = "",
    framework: Annotated[str, typer.Option(help="What it was trained with.")] = "pytorch",
    input_shape: Annotated[
        str, typer.Option(help="Shape of one sample, TIMESTEPS,FEATURES.")
    ] = "60,110",
    label_map: Annotated[
        str, typer.Option(help="Directions by class index.")
    ] = "0=HOLD,1=BUY,2=SELL",
    output: Annotated[
        list[str] | None,
        typer.Option(help="The model's name of an output, MEANING=NAME; the meaning by default."),
    ] = None,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Publish a model's files as a new version."""
    fields: dict[str, Any] = {
        "artifacts": options.path_pairs("--artifact", artifact),
        "metrics": options.number_pairs("--metric", metric),
        "training_params": options.json_pairs("--param", param),
        "dataset_info": options.json_pairs("--dataset", dataset),
        "tags": tag or [],
        "framework": framework,
        "input_shape": options.shape("--input-shape", input_shape),
        "label_map": options.label_map("--label-map", label_map),
    }
    if output:
        given = options.pairs("--output", output, "MEANING=NAME")
        fields["output_names"] = {**{each: each for each in OUTPUTS}, **given}

    async def publish(opened: Registry) -> tuple[bool, ModelInfo]:
        published = await _exists(opened, name, version)
        info = await opened.register_model(
            name, version, model_path, model_type, description, by=by, reason=reason, **fields
        )
        return published, info

    published, info = ask(registry, server, publish)
    said = "is registered already with identical content: nothing to do"
    _report(info, said if published else "is registered", as_json)


def promote(
    name: Name,
    version: Version,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Put a version into production; it is loaded and run first."""

    async def change(opened: Registry) -> ModelInfo:
        await opened.promote_to_production(name, version, by=by, reason=reason)
        return await opened.get_model(name, version)

    _report(ask(registry, server, change), "is in production", as_json)


def stage(
    name: Name,
    version: Version,
    to: Annotated[
        ModelStage, typer.Option(help="The stage to move it to.", case_sensitive=False)
    ] = ModelStage.STAGING,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Move a version to staging, or to another stage; it is loaded and run first."""

    async def change(opened: Registry) -> ModelInfo:
        await opened.set_model_stage(name, version, to, by=by, reason=reason)
        return await opened.get_model(name, version)

    _report(ask(registry, server, change), f"is now in stage {to}", as_json)


def rollback(
    name: Name,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Bring back the version that was in production before; again goes back further."""
    info = ask(registry, server, lambda opened: opened.rollback(name, by=by, reason=reason))
    _report(info, "is in production again", as_json)


def retire(
    name: Name,
    version: Version,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Archive a version, which then holds no stage."""

    async def change(opened: Registry) -> ModelInfo:
        await opened.retire_model(name, version, by=by, reason=reason)
        return await opened.get_model(name, version)

    _report(ask(registry, server, change), "is archived", as_json)


def delete(
    name: Name,
    version: Version,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Remove a version with its files, for good; its number is not used again."""

    async def look(opened: Registry) -> ModelInfo:
        return await opened.get_model(name, version)

    async def change(opened: Registry) -> None:
        await opened.delete_model(name, version, by=by, reason=reason)

    if as_json and not yes:
        raise typer.BadParameter("--json: expected --yes with it, since a script is not asked")
    if not yes:
        ask(registry, server, look)
        typer.confirm(f"Delete {name}:{version} for good?", abort=True, err=True)
    ask(registry, server, change)
    if as_json:
        tables.show_json({"name": name, "version": version, "deleted": True})
    else:
        typer.echo(f"{name}:{version} is deleted")


def repair(
    name: Annotated[
        str | None, typer.Argument(help="The model's name; all models without it.")
    ] = None,
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Mend what loses nothing; exit code 1 when something is left that needs you."""

    async def mend(opened: Registry) -> tuple[list[Finding], list[Finding]]:
        return await opened.repair(name), await opened.verify(name)

    mended, left = ask(registry, server, mend)
    if as_json:
        tables.show_json(
            {
                "mended": [each.model_dump(mode="json") for each in mended],
                "left": [each.model_dump(mode="json") for each in left],
            }
        )
    else:
        for title, findings in (("mended", mended), ("left for you", left)):
            if findings:
                tables.show(tables.findings_table(title, findings))
        if not mended and not left:
            typer.echo("nothing to mend")
    if left:
        raise typer.Exit(1)


async def _exists(opened: Registry, name: str, version: str) -> bool:
    try:
        await opened.get_model(name, version)
    except (UnknownModelError, UnknownVersionError):
        return False
    return True


def _report(info: ModelInfo, what: str, as_json: bool) -> None:
    if as_json:
        tables.show_json(tables.fields(info))
    else:
        typer.echo(f"{info.metadata.name}:{info.metadata.version} {what}")
