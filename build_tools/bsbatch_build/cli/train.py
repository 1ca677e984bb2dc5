"""``bsbatch-build train``: train the network on an archive with a label table."""

from functools import partial
from math import isnan
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bsbatch.cli.joins import require_table, show
from bsbatch.cli.label_options import (
    DryJoinOption,
    JoinOption,
    LabelOption,
    NegativeOption,
    PositiveOption,
    SheetOption,
)
from bsbatch.cli.terminal import Terminal
from bsbatch.cohort.settings import LabelOptions, LabelTable
from bsbatch.notice import SENTENCE
from bsbatch_build.training.progress import Epoch, TrainingResult
from bsbatch_build.training.recipe import PAPER, LesionMap, Precision, Recipe, Schedule, ThresholdCriterion

_data = partial(typer.Option, rich_help_panel="Data")
_recipe = partial(typer.Option, rich_help_panel="Training as in the paper")
_masks = partial(typer.Option, rich_help_panel="Beyond the paper: lesion masks")
_network = partial(typer.Option, rich_help_panel="Beyond the paper: other starts and widths")
_variant = partial(typer.Option, rich_help_panel="Beyond the paper: images, schedule and precision")
_CRITERIA = ", ".join(ThresholdCriterion)
_LesionMap = Annotated[
    LesionMap,
    _masks(help="Map to compare with the masks: own, a separate output, or cam, the classification's Grad-CAM."),
]
_OperatingPoint = Annotated[
    ThresholdCriterion, _variant(metavar="NAME", help=f"Validation ROC point moved to 0.5: {_CRITERIA}.")
]
_Precision = Annotated[
    Precision, _variant(help="bfloat16 is faster on CPUs and GPUs with bfloat16 units, slower on others.")
]
_Horizon = Annotated[int | None, _variant(help="Epochs until the cosine reaches zero.", show_default="EPOCHS")]
_External = Annotated[list[str] | None, _data(help="Centre that training never uses; repeatable.", show_default="C")]
_EarlyWidth = Annotated[float | None, _network(help="The same for blocks 1 and 2, which take most of the time.")]


def train(
    archive: Annotated[Path, typer.Argument(help="Folder with DICOM files.", show_default=False)],
    *,
    labels: Annotated[
        Path, _data(help="CSV with study_uid, label, patient_id ..., or any table with --join.", show_default=False)
    ],
    out: Annotated[Path, _data(help="Output folder of this training.", show_default=False)],
    join: JoinOption = None,
    label: LabelOption = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    sheet: SheetOption = None,
    dry_run: DryJoinOption = False,
    cache: Annotated[Path | None, _data(help="Folder of the preprocessed images.", show_default="OUT/cache")] = None,
    external: _External = None,
    validation_share: Annotated[float, _data(help="Share of the other patients that validate.")] = 0.12,
    weights: Annotated[
        str, _recipe(help="imagenet, random, or a .keras or .h5 file, also of a narrower network.")
    ] = "imagenet",
    epochs: Annotated[int, _recipe(help="Number of epochs.")] = PAPER.epochs,
    steps: Annotated[int, _recipe(help="Batches in an epoch.")] = PAPER.steps,
    batch_size: Annotated[int, _recipe(help="Examinations in a batch.")] = PAPER.batch_size,
    learning_rate: Annotated[float, _recipe(help="Learning rate of Adam.")] = PAPER.learning_rate,
    flip: Annotated[bool, _recipe(help="Mirror every other image.")] = PAPER.flip,
    validation_limit: Annotated[
        int, _recipe(help="Largest number of examinations that validate.")
    ] = PAPER.validation_limit,
    seed: Annotated[int, _recipe(help="Seed of weights, split and order.")] = 0,
    masks: Annotated[
        Path | None, _masks(help="Folder of lesion masks, a second target of the training.", show_default=False)
    ] = None,
    lesion_weight: Annotated[
        float, _masks(help="Weight of the lesion map in the loss, with --masks.")
    ] = PAPER.lesion_weight,
    lesion_map: _LesionMap = PAPER.lesion_map,
    crop_epochs: Annotated[
        int, _masks(help="Number of first epochs on crops around lesions; needs --masks.")
    ] = PAPER.crop_epochs,
    crop_side: Annotated[int, _masks(help="Rows and columns of a crop.")] = PAPER.crop_side,
    average: Annotated[
        Path | None, _network(help="A second file: training starts from the mean of both.", show_default=False)
    ] = None,
    width: Annotated[float, _network(help="Factor on all channels; 1.0 is the paper's.")] = 1.0,
    early_width: _EarlyWidth = None,
    batch_norm: Annotated[
        bool, _network(help="Batch normalisation, folded in at the end; needs random weights.")
    ] = PAPER.batch_norm,
    schedule: Annotated[Schedule, _variant(help="constant, or cosine, which falls to zero.")] = PAPER.schedule,
    horizon: _Horizon = PAPER.horizon,
    blur: Annotated[
        float, _variant(help="Largest sigma of the blur of every other image, in pixels of its view.")
    ] = PAPER.blur,
    field: Annotated[
        float, _variant(help="Largest factor on the width of the field of view of every fourth image.")
    ] = PAPER.field,
    ema_momentum: Annotated[
        float, _variant(help="Momentum of a moving average of the weights, such as 0.999; 0 for no average.")
    ] = PAPER.ema_momentum,
    operating_point: _OperatingPoint = PAPER.operating_point,
    precision: _Precision = PAPER.precision,
) -> None:
    """Train the paper's VGG16 on an archive and a label table. The same command resumes a killed training.

    Writes model.keras, config.json, split.csv, history.csv, unused.csv and TensorBoard logs.
    """
    table = LabelOptions(join, label, positive or (), negative or (), sheet).table(labels)
    if dry_run:
        _show_join(archive, table)
        return
    from bsbatch_build.network.network import NetworkSettings
    from bsbatch_build.training import train as training
    from bsbatch_build.training.split import SplitSettings

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
        NetworkSettings(weights, seed, width, early_width),
        average,
        recipe,
        SplitSettings(tuple(external or ("C",)), validation_share, seed),
        table,
    )
    console = Terminal()
    with _ProgressBar(console, epochs, steps) as listener:
        result = training.train(config, listener)
    console.print(_summary(result), soft_wrap=True, highlight=False, markup=False)


def _show_join(archive: Path, table: LabelTable | None) -> None:
    from bsbatch_build.training.archive_labels import join_archive

    show(Terminal(), join_archive(require_table(table), archive))


class _ProgressBar:
    """A bar for the epoch, on a terminal only, and a line for each finished epoch."""

    def __init__(self, console: Terminal, epochs: int, steps: int) -> None:
        self._console, self._epochs, self._steps = console, epochs, steps
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._read = 0
        self._task = self._progress.add_task("reading the archive", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_read(self, examinations: int) -> None:
        """Count examinations of the archive."""
        self._read += examinations
        self._progress.update(self._task, completed=self._read)

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        """Move the bar."""
        words = f"epoch {epoch}/{self._epochs}  loss {loss:.4f}"
        self._progress.update(self._task, description=words, completed=step, total=self._steps)

    def on_epoch(self, row: Epoch) -> None:
        """Print a line for a finished epoch."""
        lesions = "" if isnan(row.lesion_auc) else f" (hottest cell {row.lesion_auc:.3f})"
        self._console.print(
            f"epoch {row.epoch}/{self._epochs}  loss {row.loss:.4f}  validation AUC {row.validation_auc:.3f}{lesions}  "
            f"{row.seconds:.0f} s",
            highlight=False,
        )


def _summary(result: TrainingResult) -> str:
    rows = [
        f"{group:<20} {count['positive']:>6} positive {count['negative']:>6} negative"
        for group, count in result.studies.items()
    ]
    return "\n".join(
        (
            *rows,
            f"trained     {result.out}",
            f"next        bsbatch-build export MODEL --weights {quote(str(result.out))}",
            "            and --archive, --labels, --calibrate: probabilities, and a flag for scans unlike the training",
            SENTENCE,
        )
    )
