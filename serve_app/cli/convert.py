"""The command that converts a trained model to a version with reference outputs."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from registry.errors import RegistryError
from serve_app.cli import parsing, tables
from serve_app.cli.connection import exit_on
from serve_app.cli.options import AsJson, with_options

if TYPE_CHECKING:
    from registry.convert import Conversion


@with_options
def convert(
    model: Annotated[
        Path,
        typer.Argument(
            help="The trained model: a pickle of your own (.joblib, .pkl), a LightGBM text (.txt), "
            "or a file of XGBoost (.json, .ubj) or CatBoost (.cbm)."
        ),
    ],
    windows: Annotated[
        Path,
        typer.Argument(
            help="Real windows, .npy or .npz of (windows, timesteps, features) or of flat rows."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the files of the version.")] = Path(
        "converted"
    ),
    direction: Annotated[
        list[str] | None,
        typer.Option(
            help="Direction of a class, CLASS=DIRECTION, such as 0=SELL; repeatable. Not needed if "
            "the classes are named HOLD, BUY and SELL."
        ),
    ] = None,
    dead_band: Annotated[
        float | None,
        typer.Option(
            help="Return up to which a regressor's prediction is HOLD, such as 0.001; required for "
            "regressors."
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Convert a trained model to ONNX and verify it against its own library.

    Run it where the model was trained: a pickle is loaded, which runs the code in it. The original
    and the converted model run on your windows, on rows beside the thresholds of trees, and on rows
    with zeros and missing values. If the outputs agree, model.onnx and windows.npz, with the
    original's outputs, are written, and the command that registers them is printed. Otherwise the
    error names the option that is lost, and no file is written.
    """
    # A trainer's libraries take seconds to import.
    from registry.convert import convert as converted
    from registry.convert.files import load_model, read_array

    directions = parsing.pairs("--direction", direction, "CLASS=DIRECTION")
    with exit_on(RegistryError, OSError):
        conversion = converted(load_model(model), read_array(windows), directions, dead_band)
        if conversion.label_map is None and dead_band is None:
            problem = f"expected the dead band of {conversion.model_type}, a regressor; pass it"
            raise typer.BadParameter(problem, param_hint="--dead-band")
        conversion.write(output)
    command = _registration(conversion, output)
    if as_json:
        fields = {**conversion.registration, "keeps_missing": conversion.keeps_missing}
        tables.show_json({**fields, "folder": str(output), "register": command})
        return
    for check in conversion.checks:
        differing = len(check.agreement.differing)
        result = "equal" if check.is_passed else f"{differing} differ"
        typer.echo(f"{check.agreement.windows} {check.rows}: {result}")
    if conversion.windows.dtype == np.float64:
        typer.echo("windows: float64; their digits beyond float32 decide, so send doubles")
    if conversion.other_decisions:
        typer.echo(
            f"directions: predict chooses another class than the most probable one for "
            f"{conversion.other_decisions} given windows; a server chooses the most probable one"
        )
    if not conversion.keeps_missing:
        typer.echo("missing values: the model is equal for windows without NaN only")
    typer.echo(f"{output} holds the version; register it with:\n{command}")


def _registration(conversion: "Conversion", folder: Path) -> str:
    """Return the command that registers a conversion."""
    fields = conversion.registration
    words = ["modelctl", "register", "NAME", "VERSION", str(folder / "model.onnx")]
    words += ["--type", fields["model_type"], "--framework", fields["framework"]]
    words += ["--input-shape", ",".join(map(str, fields["input_shape"]))]
    words += ["--artifact", f"windows.npz={folder / 'windows.npz'}"]
    if "label_map" in fields:
        pairs = (f"{index}={label}" for index, label in fields["label_map"].items())
        words += ["--label-map", ",".join(pairs)]
    for key, value in fields.get("dataset_info", {}).items():
        words += ["--dataset", f"{key}={json.dumps(value)}"]
    for meaning, name in fields["output_names"].items():
        words += ["--output", f"{meaning}={name}"]
    return shlex.join(words)
