"""``bsbatch-build export``: make a model directory."""

from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.terminal import Terminal
from bsbatch.errors import UsageError
from bsbatch.notice import SENTENCE


def export(
    out: Annotated[Path, typer.Argument(help="Model directory to make; must not exist, or be empty.")],
    weights: Annotated[
        str, typer.Option(help="random, imagenet, a folder of bsbatch-build train, or a .keras or .h5 file.")
    ] = "random",
    seed: Annotated[int, typer.Option(help="Seed of every random weight.")] = 0,
    width: Annotated[
        float | None,
        typer.Option(
            help="Factor on the channels; 1 is the paper's VGG16, 0.0625 a twin.", show_default="the training's, or 1"
        ),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Smallest score of a positive scan, in [0, 1].")] = 0.5,
    half_weights: Annotated[
        bool, typer.Option(help="Store weights as fp16, half the bytes; the arithmetic stays fp32.")
    ] = False,
    widen: Annotated[
        bool, typer.Option(help="Widen a narrower network from a file; it computes the same as before.")
    ] = False,
    join: Annotated[
        list[Path] | None,
        typer.Option(
            help="A further narrow network to join with --weights into one; repeatable. Their logits are averaged.",
            show_default=False,
        ),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Join each network a second time, for the mirrored image.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Short name for display.", show_default="from the weights")] = None,
    note: Annotated[
        str | None, typer.Option(help="Note about the weights for the user.", show_default="their origin")
    ] = None,
    made_by: Annotated[
        str | None, typer.Option(help="The command that makes this model again, for its card.", show_default=False)
    ] = None,
    keep_keras: Annotated[
        bool, typer.Option("--keep-keras", help="Write model.keras beside it, for bsbatch run --cam-engine keras.")
    ] = False,
    other: Annotated[
        Path | None,
        typer.Option(
            "--network",
            help="Export this whole Keras model, of 512 x 512 x 1 or 3 to two probabilities, instead of the paper's.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Take the network of this model directory, to fit it anew.", show_default=False),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(help="Training and validation scans: others are flagged unlike_training.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Their label table, as for train; of its split.", show_default=False)
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Their preprocessed images (train --cache).", show_default="OUT.cache")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Make scores probabilities, on the validation scans (Platt).")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="No scan of --archive was trained on: half validate, whatever its split.")
    ] = False,
) -> None:
    """Make a model directory that bsbatch runs: model.onnx, compared with the Keras model, and manifest.json.

    With --archive and --labels, the model's own training data, it knows scans unlike them; with --calibrate, too, its
    scores are probabilities.
    """
    from bsbatch_build.export.export import ExportSettings
    from bsbatch_build.export.export import export as export_model
    from bsbatch_build.export.fit import FitSettings
    from bsbatch_build.export.trained import find_file, network_of

    members = tuple(find_file(path) for path in join or ())
    is_whole = not (widen or members or mirror or other)
    fit = None
    if archive is not None and labels is not None:
        fit = FitSettings(archive, labels, cache or out.with_name(f"{out.name}.cache"), fresh, calibrate)
    elif archive or labels or calibrate or fresh:
        raise UsageError("--archive, --labels, --calibrate and --fresh belong together: give --archive and --labels")
    settings = ExportSettings(
        out,
        network_of(weights, seed, width, is_whole=is_whole),
        threshold,
        half_weights,
        name,
        note,
        widen,
        made_by,
        keep_keras,
        other,
        members,
        mirror,
        model,
        fit,
    )
    console = Terminal()
    with console.status("making the model and comparing it with Keras") as status:
        scored = count(1)
        exported = export_model(settings, lambda: status.update(f"fitting the model: {next(scored)} examinations"))
    console.print("\n".join([*exported.summary(), SENTENCE]), soft_wrap=True, highlight=False, markup=False)
