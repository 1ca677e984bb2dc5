"""``bsbatch-build train``: the paper's training on an archive with a label table."""

from __future__ import annotations

import importlib
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bsbatch_build.cli.export import RESEARCH_USE
from bsbatch_build.training.recipe import PAPER, LesionMap, OperatingPoint, Precision, Recipe, Schedule

_DATA, _START, _HOW = "Data", "Where the weights start", "How it learns (the defaults are the paper's)"


def train(
    archive: Annotated[Path, typer.Argument(help="Folder with DICOM files.", show_default=False)],
    *,
    labels: Annotated[
        Path,
        typer.Option(
            help="CSV with study_uid, label and, where known, patient_id, centre, split.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of this training.", show_default=False, rich_help_panel=_DATA)],
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of lesion masks: learn the lesions' places, too.", show_default=False, rich_help_panel=_DATA
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of the preprocessed images.", show_default="OUT/cache", rich_help_panel=_DATA),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(help="Centre never seen in training; repeatable.", show_default="C", rich_help_panel=_DATA),
    ] = None,
    validation_share: Annotated[
        float, typer.Option(help="Share of patients that validate.", rich_help_panel=_DATA)
    ] = 0.12,
    weights: Annotated[
        str,
        typer.Option(help="imagenet, random, or a .keras or .h5 file, narrower ones too.", rich_help_panel=_START),
    ] = "imagenet",
    average: Annotated[
        Path | None,
        typer.Option(help="A second file: start from the mean of both.", show_default=False, rich_help_panel=_START),
    ] = None,
    width: Annotated[
        float, typer.Option(help="Factor on all channels; 1.0 is the paper's.", rich_help_panel=_START)
    ] = 1.0,
    early_width: Annotated[
        float | None,
        typer.Option(help="The same of blocks 1 and 2, which take most of the time.", rich_help_panel=_START),
    ] = None,
    batch_norm: Annotated[
        bool,
        typer.Option(help="Batch normalisation, folded in at the end; with random weights.", rich_help_panel=_START),
    ] = PAPER.batch_norm,
    epochs: Annotated[int, typer.Option(help="Epochs.", rich_help_panel=_HOW)] = PAPER.epochs,
    steps: Annotated[int, typer.Option(help="Batches in an epoch.", rich_help_panel=_HOW)] = PAPER.steps,
    batch_size: Annotated[int, typer.Option(help="Examinations in a batch.", rich_help_panel=_HOW)] = PAPER.batch_size,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.", rich_help_panel=_HOW)] = PAPER.learning_rate,
    schedule: Annotated[
        Schedule, typer.Option(help="constant, or cosine: falling to zero.", rich_help_panel=_HOW)
    ] = PAPER.schedule,
    horizon: Annotated[
        int | None,
        typer.Option(help="Epochs until the cosine is at zero.", show_default="EPOCHS", rich_help_panel=_HOW),
    ] = PAPER.horizon,
    flip: Annotated[bool, typer.Option(help="Mirror every other image.", rich_help_panel=_HOW)] = PAPER.flip,
    blur: Annotated[
        float,
        typer.Option(help="Blur every other image by up to so many pixels of its view.", rich_help_panel=_HOW),
    ] = PAPER.blur,
    field: Annotated[
        float,
        typer.Option(help="Show every fourth image in a field up to so many times as wide.", rich_help_panel=_HOW),
    ] = PAPER.field,
    crop_epochs: Annotated[
        int, typer.Option(help="First epochs on crops around lesions, with --masks.", rich_help_panel=_HOW)
    ] = PAPER.crop_epochs,
    crop_side: Annotated[int, typer.Option(help="Rows and columns of a crop.", rich_help_panel=_HOW)] = PAPER.crop_side,
    lesion_weight: Annotated[
        float, typer.Option(help="Weight of the lesions' places, with --masks.", rich_help_panel=_HOW)
    ] = PAPER.lesion_weight,
    lesion_map: Annotated[
        LesionMap,
        typer.Option(
            help="What must lie where the lesions are: a map of its own, or the classification's Grad-CAM.",
            rich_help_panel=_HOW,
        ),
    ] = PAPER.lesion_map,
    validation_limit: Annotated[
        int, typer.Option(help="Examinations that validate at most.", rich_help_panel=_HOW)
    ] = PAPER.validation_limit,
    operating_point: Annotated[
        OperatingPoint,
        typer.Option(help="What on the ROC curve of the validation is moved to 0.5.", rich_help_panel=_HOW),
    ] = PAPER.operating_point,
    precision: Annotated[
        Precision,
        typer.Option(
            help="bfloat16 is faster on CPUs and GPUs that compute in it, slower on others.", rich_help_panel=_HOW
        ),
    ] = PAPER.precision,
    ema_momentum: Annotated[
        float,
        typer.Option(help="Average the weights over the steps, such as 0.999; 0 for no average.", rich_help_panel=_HOW),
    ] = PAPER.ema_momentum,
    seed: Annotated[int, typer.Option(help="Of weights, split and order.", rich_help_panel=_HOW)] = 0,
) -> None:
    """Train the paper's VGG16 on an archive and a label table; the same command goes on after a kill.

    Writes model.keras, config.json, split.csv, history.csv, unused.csv and TensorBoard logs.
    """
    training = importlib.import_module("bsbatch_build.training.train")
    network = importlib.import_module("bsbatch_build.network.network")
    split = importlib.import_module("bsbatch_build.training.split")
    recipe = Recipe(
        epochs,
        steps,
        batch_size,
        learning_rate,
        schedule,
        horizon,
        flip,
        blur,
        field,
        batch_norm,
        crop_epochs,
        crop_side,
        lesion_weight,
        lesion_map,
        validation_limit,
        operating_point,
        precision,
        ema_momentum,
    )
    config = training.TrainConfig(
        archive,
        labels,
        out,
        masks,
        cache,
        network.NetworkSettings(weights, seed, width, early_width),
        average,
        recipe,
        split.SplitSettings(tuple(external or ("C",)), validation_share, seed),
    )
    console = Console()
    with _Listener(console, epochs, steps) as listener:
        trained = training.train(config, listener)
    console.print(_summary(trained), soft_wrap=True, highlight=False, markup=False)


class _Listener:
    """A bar for the epoch on a terminal, and a line for each finished epoch everywhere."""

    def __init__(self, console: Console, epochs: int, steps: int) -> None:
        self._console, self._epochs, self._steps = console, epochs, steps
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._read = 0
        self._task = self._progress.add_task("reading the archive", total=None)

    def __enter__(self) -> _Listener:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def reading(self, examinations: int) -> None:
        """Count what was read."""
        self._read += examinations
        self._progress.update(self._task, completed=self._read)

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Move the bar."""
        words = f"epoch {epoch}/{self._epochs}  loss {loss:.4f}"
        self._progress.update(self._task, description=words, completed=step, total=self._steps)

    def epoch(self, row: Any) -> None:
        """Say how the epoch went."""
        places = "" if isnan(row.lesion_auc) else f" (hottest cell {row.lesion_auc:.3f})"
        self._console.print(
            f"epoch {row.epoch}/{self._epochs}  loss {row.loss:.4f}  validation AUC {row.validation_auc:.3f}{places}  "
            f"{row.seconds:.0f} s",
            highlight=False,
        )


def _summary(trained: Any) -> str:
    rows = [
        f"{group:<20} {count['positive']:>6} positive {count['negative']:>6} negative"
        for group, count in trained.studies.items()
    ]
    return "\n".join(
        (
            *rows,
            f"trained     {trained.out}",
            f"next        bsbatch-build export MODEL --weights {trained.out}",
            RESEARCH_USE,
        )
    )
