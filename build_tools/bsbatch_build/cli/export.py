"""``bsbatch-build export``: make a model directory."""

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

RESEARCH_USE = "Research use only. Not a medical device."


def export(
    out: Annotated[Path, typer.Argument(help="Model directory to make; must not exist, or be empty.")],
    weights: Annotated[str, typer.Option(help="random, imagenet, or the path of a .keras or .h5 file.")] = "random",
    seed: Annotated[int, typer.Option(help="Seed of every weight that is drawn.")] = 0,
    width: Annotated[float, typer.Option(help="Factor on the channels; 1 is the paper's VGG16, 0.0625 a twin.")] = 1.0,
    threshold: Annotated[float, typer.Option(help="Probability of metastasis from which on a scan is positive.")] = 0.5,
    half_weights: Annotated[
        bool, typer.Option(help="Store weights as fp16, half the bytes; the arithmetic stays fp32.")
    ] = False,
    widen: Annotated[
        bool, typer.Option(help="Widen a narrower network from a file; it computes the same as before.")
    ] = False,
    join: Annotated[
        list[Path] | None,
        typer.Option(
            help="A further narrow network to stand beside --weights in one; repeatable. Their logits are averaged.",
            show_default=False,
        ),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Join each network a second time, for the mirrored image.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Short name for people.", show_default="from the weights")] = None,
    note: Annotated[
        str | None, typer.Option(help="What people must know of the weights.", show_default="where they come from")
    ] = None,
    made_by: Annotated[
        str | None, typer.Option(help="The command that makes this model again, for its card.", show_default=False)
    ] = None,
    keep_keras: Annotated[
        bool, typer.Option("--keep-keras", help="Leave model.keras beside it, for bsbatch run --cam-engine keras.")
    ] = False,
    other: Annotated[
        Path | None,
        typer.Option(
            "--network",
            help="Take this whole Keras model, of 512 x 512 x 1 or 3 to two probabilities, instead of the paper's.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a model directory that bsbatch runs: model.onnx, compared with the Keras model, and manifest.json."""
    network = importlib.import_module("bsbatch_build.network.network")
    exporting = importlib.import_module("bsbatch_build.export.export")
    settings = exporting.ExportSettings(
        out,
        network.NetworkSettings(weights, seed, width),
        threshold,
        half_weights,
        name,
        note,
        widen,
        made_by,
        keep_keras,
        other,
        tuple(join or ()),
        mirror,
    )
    console = Console()
    with console.status("making the model and comparing it with Keras"):
        made = exporting.export(settings)
    console.print(_summary(made), soft_wrap=True, highlight=False, markup=False)


def _summary(made: Any) -> str:
    parity, training = made.parity, made.manifest.training
    return "\n".join(
        (
            f"model       {made.folder}",
            f"name        {made.manifest.name}",
            f"id          {made.model_id}",
            f"weights     {made.weights:,} ({training['note']})",
            f"difference  {parity.difference:.1e} to the Keras model, on {parity.images} images",
            f"heat maps   {_maps(made.manifest)}",
            RESEARCH_USE,
        )
    )


def _maps(manifest: Any) -> str:
    if manifest.cam_name is not None:
        return "in the graph: bsbatch run --cam positive"
    if "model.keras" in manifest.files:
        return "of model.keras: bsbatch run --cam positive --cam-engine keras"
    return "none: its head is not the paper's; with --keep-keras, bsbatch run --cam-engine keras gives them"
