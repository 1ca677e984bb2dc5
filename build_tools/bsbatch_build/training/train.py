"""The paper's training, from top to bottom: labels, split, images, network, epochs, checkpoint.

Ibrahim et al., Cancer Imaging 2023; 23:12, "Model architecture, training and testing". The paper starts from ImageNet
weights. Without them four settings make the training of the same plain VGG16 converge: batch normalisation that is
folded in at the end, a narrow network that is widened later, lesion masks as a second target, and first epochs on
crops around lesions.
"""

import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.cohort.settings import LabelTable
from bsbatch.errors import ModelError, OutputError, UsageError
from bsbatch.evaluation.labels import Label, LabelFile
from bsbatch.host.files import refuse_file, replace_file, replace_text
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.host.spreadsheet import write_csv
from bsbatch.host.threads import prefetch
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import sha256_of
from bsbatch_build import toolchain
from bsbatch_build.network import weights
from bsbatch_build.network.network import CHANNELS, FLOAT32, MIXED, RELU, SIDE, NetworkSettings, build
from bsbatch_build.network.surgery import fold, move_threshold
from bsbatch_build.toolchain import Array, KerasModel, Optimizer, Tensor, TrainableModel
from bsbatch_build.training.archive_labels import read_training_labels
from bsbatch_build.training.augmentation import CELL, STRIDE, Augmentation, Crop, FieldOfView, blur_randomly
from bsbatch_build.training.dataset import GRID, Dataset, open_dataset, read_masks
from bsbatch_build.training.progress import Epoch, Listener, TrainingResult
from bsbatch_build.training.recipe import PAPER, LesionMap, Precision, Recipe, Schedule, ThresholdCriterion
from bsbatch_build.training.split import SplitSettings, Subset, count_studies, divide, write_split

CONFIG, SPLIT, UNUSED, HISTORY, MODEL, LOGS = (
    "config.json",
    "split.csv",
    "unused.csv",
    "history.csv",
    "model.keras",
    "logs",
)
_STATE, _STATES = "state-{:04d}.weights.h5", "state-*.weights.h5"
"""File of weights and optimiser, named after the last finished epoch, and the pattern of such files."""
_LESIONS = "lesions"
_ON_LESION = 0.5
"""Share of the crops around a lesion, of this image or, for an image without lesions, of another; the others are drawn
by uptake."""
_BATCHES_AHEAD = 2
_RARE = -4.0
"""Initial bias of the lesion output: about 2 % of the cells hold a lesion."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of ``bsbatch-build train``."""

    archive: Path
    labels: Path
    out: Path
    masks: Path | None = None
    """Folder of lesion masks, see `bsbatch_build.training.dataset.read_masks`; None to train on labels alone."""
    cache: Path | None = None
    """Folder of the preprocessed images; None for ``out/cache``."""
    network: NetworkSettings = field(default_factory=lambda: NetworkSettings(weights.IMAGENET))
    average: Path | None = None
    """A second file of weights; training starts from the mean of both (model soups: Wortsman et al., ICML 2022)."""
    recipe: Recipe = PAPER
    split: SplitSettings = field(default_factory=SplitSettings)
    table: LabelTable | None = None
    """How `labels` is joined with the archive, if it is a table of another form."""

    def __post_init__(self) -> None:
        """Raise UsageError for crops without masks, and for batch normalisation with weights that lack its averages."""
        if self.recipe.crop_epochs and self.masks is None:
            raise UsageError("--crop-epochs cuts around the lesions: give --masks FOLDER")
        if self.recipe.batch_norm and (self.network.weights != weights.RANDOM or self.average is not None):
            raise UsageError("--batch-norm starts from random weights: give --weights random and no --average")


def train(config: TrainConfig, listener: Listener) -> TrainingResult:
    """Train, or resume a killed training of the same configuration; a finished one is left alone.

    Writes into ``config.out``: ``config.json`` (the resolved configuration), ``split.csv``, ``unused.csv`` (labelled
    studies without an image and examinations without a label, with reasons), ``history.csv``, ``logs`` for
    TensorBoard, and ``model.keras``, the paper's plain network.

    Raises
    ------
    UsageError
        The labels, the split or the masks cannot be used, or ``out`` holds another training.
    ModelError
        The starting weights do not fit.
    OutputError
        ``out`` cannot be written.
    """
    labels = (file := read_training_labels(config.labels, config.table, config.archive)).labels
    subsets = divide(labels, config.split)
    studies = count_studies(labels, subsets)
    resolved = _resolve_config(config, studies)
    try:
        _claim_folder(config.out, resolved)
        history = _read_history(config.out)
        if len(history) == config.recipe.epochs and (config.out / MODEL).is_file():
            return TrainingResult(config.out, tuple(history), studies)
        data = open_dataset(config.archive, config.cache or config.out / "cache", listener.on_read)
        examples = _training_set_of(data, labels, subsets, config.masks)
        write_split(config.out / SPLIT, labels, subsets)
        _write_unused(config.out / UNUSED, data, file)
        history = _learn(config, examples, listener)
    except OSError as error:
        raise OutputError.of(config.out, error) from error
    return TrainingResult(config.out, tuple(history), studies)


def _resolve_config(config: TrainConfig, studies: Mapping[str, Mapping[str, int]]) -> dict[str, object]:
    """Collect everything that determines the weights, for ``config.json`` and the model card."""
    toolchain.tensorflow()  # the imports below would let its greeting through
    versions = {name: toolchain.package(name).__version__ for name in ("bsbatch", "tensorflow", "keras", "numpy")}
    return {
        "version": 1,
        "network": {name: getattr(config.network, name) for name in ("width", "early_width", "seed")},
        "start": _start_of(config.network.weights),
        **({"average": _describe_file(config.average, "--average")} if config.average is not None else {}),
        "recipe": asdict(config.recipe),
        "split": {**asdict(config.split), "external": list(config.split.external)},
        "masks": config.masks is not None,
        "preprocessing_version": VERSION,
        "studies": studies,
        "tools": versions,
    }


def _start_of(start: str) -> dict[str, object]:
    """Describe the origin of the starting weights."""
    if start in (weights.RANDOM, weights.IMAGENET):
        return {"weights": start}
    return _describe_file(Path(start), "--weights (or random, imagenet)")


def _describe_file(path: Path, option: str) -> dict[str, object]:
    """Describe a file of weights, with the training that wrote it if there was one."""
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file; give a .keras or .h5 file as {option}")
    return {"weights": path.name, "sha256": sha256_of(path), "run": read_training(path)}


def read_training(model: Path) -> dict[str, object] | None:
    """Read configuration and history of the training that wrote a ``model.keras``; None for any other file."""
    folder = model.parent
    if model.name != MODEL or not (folder / CONFIG).is_file():
        return None
    resolved: dict[str, object] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return {**resolved, "history": [asdict(epoch) for epoch in _read_history(folder)]}


def _claim_folder(out: Path, resolved: dict[str, object]) -> None:
    """Write ``config.json`` into an empty folder; raise UsageError for a folder with anything else in it."""
    refuse_file(out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(resolved)):
        raise UsageError(f"{out} holds a training with another configuration or labels: give another --out")
    if not path.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no training: give another --out")
    replace_text(path, json.dumps(resolved, indent=2) + "\n")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Images with labels, lesion masks and subsets; all arrays in the order of the images."""

    data: Dataset
    labels: NDArray[np.bool_]
    """``(N,)`` True for metastasis; False also for images without a label."""
    rows: Mapping[Subset, NDArray[np.intp]]
    """Indices of the images of each subset."""
    lesions: NDArray[np.uint8] | None
    """``(N, 128, 128)``, 1 in the cells that a lesion touches; None without masks."""
    is_marked: NDArray[np.bool_]
    """``(N,)`` True if the lesions are known: a positive with a mask, or a negative."""
    centres: NDArray[np.str_]
    """``(N,)`` names, empty if unknown."""

    @property
    def lesion_rows(self) -> NDArray[np.intp]:
        """Indices of the images with at least one known lesion."""
        return np.flatnonzero(self.labels & self.is_marked)

    def mask_of(self, row: int) -> NDArray[np.uint8]:
        """Return the lesion mask ``(128, 128)`` of one image, zeros without masks."""
        return np.zeros((GRID, GRID), np.uint8) if self.lesions is None else self.lesions[row]


def _training_set_of(
    data: Dataset, labels: Mapping[str, Label], subsets: Mapping[str, Subset], masks: Path | None
) -> TrainingSet:
    known = [labels.get(exam.study_uid or "") for exam in data.exams]
    positive = np.array([label is not None and label.is_positive for label in known], bool)
    rows = {
        subset: np.array(
            [row for row, label in enumerate(known) if label and subsets[label.study_uid] is subset], np.intp
        )
        for subset in Subset
    }
    for subset in (Subset.TRAIN, Subset.VALIDATION):
        _require_both_classes(subset, positive[rows[subset]])
    centres = np.array([(label.centre if label else None) or "" for label in known], str)
    if masks is None:
        return TrainingSet(data, positive, rows, None, np.zeros(len(known), bool), centres)
    lesions, is_marked = np.zeros((len(known), GRID, GRID), np.uint8), ~positive
    for row in rows[Subset.TRAIN][positive[rows[Subset.TRAIN]]]:
        mask = read_masks(masks, data.exams[row].study_uid or "")
        if mask is not None:
            lesions[row], is_marked[row] = mask, bool(mask.any())
    if not lesions.any():
        raise UsageError(
            f"{masks} holds no mask of a positive study: the files are <study_uid>_anterior.png, _posterior.png"
        )
    return TrainingSet(data, positive, rows, lesions, is_marked, centres)


def _require_both_classes(subset: Subset, positive: NDArray[np.bool_]) -> None:
    if positive.all() or not positive.any():
        given = f"{positive.sum()} positive and {(~positive).sum()} negative examinations"
        raise UsageError(
            f"the {subset} set has {given}: both classes are needed. Label more studies, or change the split"
        )


def _write_unused(path: Path, data: Dataset, file: LabelFile) -> None:
    """List every labelled study without an image, every examination without a label, and rows that label no study."""
    labels = file.labels
    usable = {exam.study_uid for exam in data.exams}
    failed = {exam.study_uid: exam.reason for exam in data.failed}
    rows = [(uid, failed.get(uid) or "not_in_archive") for uid in labels if uid not in usable]
    rows += [(exam.study_uid or "", "no_label") for exam in data.exams if exam.study_uid not in labels]
    rows += [("", f"line {line}: {cause}") for line, cause in file.unjoined]
    with path.open("w", encoding="utf-8", newline="") as stream:
        write_csv(stream, [("study_uid", "reason"), *rows])


def _learn(config: TrainConfig, examples: TrainingSet, listener: Listener) -> list[Epoch]:
    """Run the epochs that are left, save after each, and write the finished network."""
    recipe, seed = config.recipe, config.network.seed
    toolchain.make_deterministic(seed)
    history = _read_history(config.out)
    keep_freed_memory()  # TensorFlow maps large tensors anew each time
    network = compile_network(config)
    if history:
        network.load_weights(config.out / _STATE.format(len(history)))
    writer = toolchain.tensorflow().summary.create_file_writer(str(config.out / LOGS))
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        started, side = time.monotonic(), recipe.crop_side if epoch <= recipe.crop_epochs else SIDE
        with closing(prefetch(draw_batches(examples, recipe, (seed, epoch), side), _BATCHES_AHEAD)) as batches:
            loss = _train_epoch(network, batches, epoch, listener)
        with _use_average(network):
            aucs = _validation_aucs(network, examples, recipe)
        history.append(Epoch(epoch, side, loss, *aucs, round(time.monotonic() - started, 1)))
        _save_state(network, config.out, history)
        with writer.as_default(step=epoch):
            for name in ("loss", "validation_auc", "lesion_auc", "side"):
                toolchain.tensorflow().summary.scalar(name, getattr(history[-1], name))
        listener.on_epoch(history[-1])
    writer.close()
    with _use_average(network):
        _finish(network, config, examples)
    return history


def compile_network(config: TrainConfig) -> TrainableModel:
    """Build the network with its losses and its optimiser; with masks, the lesion map is a second output."""
    keras, recipe = toolchain.keras(), config.recipe
    dtype = MIXED if recipe.precision is Precision.BFLOAT16 else FLOAT32
    network = build(config.network, batch_norm=recipe.batch_norm, side=None, dtype=dtype)
    if not recipe.batch_norm:
        network.set_weights(_starting_weights(config))
    outputs = {"predictions": network.output}
    losses: dict[str, object] = {"predictions": "categorical_crossentropy"}
    if config.masks is not None:
        outputs[_LESIONS] = _lesion_map(network, recipe)
        losses[_LESIONS] = keras.losses.BinaryCrossentropy(from_logits=True)
    model: TrainableModel = keras.Model(network.input, outputs, name="training")
    loss_weights = {name: recipe.lesion_weight if name == _LESIONS else 1.0 for name in losses}
    model.compile(_optimizer(keras, recipe), losses, loss_weights=loss_weights)
    model.optimizer.build(model.trainable_variables)  # a saved state has its variables, too
    return model


def _lesion_map(network: KerasModel, recipe: Recipe) -> Tensor:
    """Append the output with the logits of the lesion map, ``(N, rows, columns, 1)`` on the grid of block 5."""
    keras = toolchain.keras()
    features = network.get_layer("block5_conv3" + RELU * recipe.batch_norm).output
    if recipe.lesion_map is LesionMap.CAM:
        features = _grad_cam(network, features)
    bias = keras.initializers.Constant(_RARE)
    zeros = keras.initializers.Zeros()
    layer = keras.layers.Conv2D(
        1,
        1,
        name=_LESIONS,
        kernel_initializer=zeros,
        bias_initializer=bias,
        data_format="channels_last",
        dtype=FLOAT32,
    )
    logits: Tensor = layer(features)
    return logits


def _starting_weights(config: TrainConfig) -> list[Array]:
    """Load the starting weights, or the mean of two files."""
    names = [config.network.weights, *([] if config.average is None else [str(config.average)])]
    starts = [weights.load(replace(config.network, weights=name), may_widen=True).get_weights() for name in names]
    return [np.mean(arrays, axis=0, dtype=np.float32) for arrays in zip(*starts, strict=True)]


def _grad_cam(network: KerasModel, features: Tensor) -> Tensor:
    """Append the Grad-CAM map of metastasis ``(N, rows, columns, 1)``, up to a factor.

    `bsbatch_build.export.cam_head` derives the formula.
    """
    keras = toolchain.keras()
    hidden, scores = (network.get_layer(name) for name in ("fc1", "predictions"))

    def weight_channels(tensors: list[Tensor]) -> Tensor:
        maps, activation = tensors
        direction = scores.kernel[:, 1] - scores.kernel[:, 0]
        channels = keras.ops.matmul(keras.ops.sign(activation) * direction, keras.ops.transpose(hidden.kernel))
        cam: Tensor = keras.ops.einsum("nrck,nk->nrc", maps, channels)[..., np.newaxis]
        return cam

    cam: Tensor = keras.layers.Lambda(weight_channels, name="cam", dtype=FLOAT32)([features, hidden.output])
    return cam


def _optimizer(keras: ModuleType, recipe: Recipe) -> Optimizer:
    rate: object = recipe.learning_rate
    if recipe.schedule is Schedule.COSINE:
        rate = keras.optimizers.schedules.CosineDecay(rate, (recipe.horizon or recipe.epochs) * recipe.steps)
    adam: Optimizer = keras.optimizers.Adam(rate, use_ema=recipe.ema_momentum > 0.0, ema_momentum=recipe.ema_momentum)
    return adam


@contextmanager
def _use_average(network: TrainableModel) -> Iterator[None]:
    """Replace the weights by their moving averages within the block, if the optimiser keeps averages."""
    if not network.optimizer.use_ema:
        yield
        return
    last = network.get_weights()
    network.optimizer.finalize_variable_values(network.trainable_variables)
    try:
        yield
    finally:
        network.set_weights(last)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Input, targets and weights of one training step."""

    images: Array
    """``(N, side, side, 3)`` in [0, 1]."""
    targets: dict[str, Array]
    """``predictions (N, 2)`` and, with masks, ``lesions (N, side / 16, side / 16, 1)``."""
    sample_weights: dict[str, Array]
    """``(N,)`` for predictions, ``(N, 1, 1)`` for lesions."""


def draw_batches(examples: TrainingSet, recipe: Recipe, seed: tuple[int, int], side: int) -> Iterator[TrainingBatch]:
    """Draw the batches of one epoch: all positives and as many negatives, drawn anew, in random order.

    A longer epoch continues with another such round; a shorter one ends within it.

    Parameters
    ----------
    seed
        Seed of the training, and number of the epoch.
    side
        Rows and columns of the images.
    """
    rng = np.random.default_rng(seed)
    rows = examples.rows[Subset.TRAIN]
    positives, negatives = rows[examples.labels[rows]], rows[~examples.labels[rows]]
    order = _draw_rows(rng, positives, negatives, recipe.steps * recipe.batch_size)
    for chosen in order.reshape(recipe.steps, recipe.batch_size):
        flips = rng.random(recipe.batch_size) < 0.5 * recipe.flip
        crops = [_draw_crop(rng, examples, row, side) for row in chosen]
        widest = recipe.field if side == SIDE else 1.0
        fields = [FieldOfView.draw(rng, widest, examples.data.images[row]) for row in chosen]
        batch = _batch_of(examples, chosen, list(map(Augmentation, crops, flips.tolist(), fields)))
        if recipe.blur and side == SIDE:
            blur_randomly(rng, recipe.blur, batch.images)
        yield batch


def _draw_rows(
    rng: np.random.Generator, positives: NDArray[np.intp], negatives: NDArray[np.intp], wanted: int
) -> NDArray[np.intp]:
    rounds: list[NDArray[np.intp]] = []
    while sum(map(len, rounds)) < wanted:
        others = rng.choice(negatives, len(positives), replace=len(negatives) < len(positives))
        rounds.append(rng.permutation(np.concatenate([positives, others])))
    return np.concatenate(rounds)[:wanted]


def _draw_crop(rng: np.random.Generator, examples: TrainingSet, row: int, side: int) -> Crop:
    """Draw a crop around a lesion or around uptake, off centre by up to a quarter of its side; or the whole image."""
    if side == SIDE or examples.lesions is None:
        return Crop()
    draw_pixel = _draw_lesion_pixel if rng.random() < _ON_LESION else _draw_uptake_pixel
    centre = draw_pixel(rng, examples, row)
    corner = centre - side // 2 + rng.integers(-side // 4, side // 4, 2)
    top, left = np.clip(corner // STRIDE * STRIDE, 0, SIDE - side).tolist()
    return Crop(top, left, side)


def _draw_lesion_pixel(rng: np.random.Generator, examples: TrainingSet, row: int) -> NDArray[np.intp]:
    """Draw a pixel of a lesion; for an image without lesions, of another image.

    Both classes are thus cut at the same positions.
    """
    lesions = examples.lesions
    if lesions is None or not lesions[row].any():
        row = int(rng.choice(examples.lesion_rows))
    return np.asarray(rng.choice(np.argwhere(examples.mask_of(row))) * CELL, np.intp)


def _draw_uptake_pixel(rng: np.random.Generator, examples: TrainingSet, row: int) -> NDArray[np.intp]:
    """Draw a pixel with a probability proportional to the square root of the uptake around it."""
    many = SIDE // STRIDE
    coarse = cv2.resize(np.asarray(examples.data.images[row], np.float32), (many, many), interpolation=cv2.INTER_AREA)
    chance = np.sqrt(coarse).ravel().astype(np.float64)
    index = int(rng.choice(chance.size, p=chance / chance.sum()))
    return np.asarray(divmod(index, many), np.intp) * STRIDE


def _batch_of(examples: TrainingSet, rows: NDArray[np.intp], augmentations: Sequence[Augmentation]) -> TrainingBatch:
    pairs = list(zip(rows.tolist(), augmentations, strict=True))
    images = np.stack([augmentation.apply(examples.data.images[row]) for row, augmentation in pairs])
    positive = examples.labels[rows].astype(np.float32)
    known: Array = np.ones(len(rows), np.float32)
    targets, sample_weights = {}, {}
    if examples.lesions is not None:
        cells = [augmentation.apply(examples.mask_of(row), CELL) > 0 for row, augmentation in pairs]
        targets[_LESIONS] = _coarsen(np.stack(cells))
        is_marked = examples.is_marked[rows].astype(np.float32)
        sample_weights[_LESIONS] = is_marked.reshape(-1, 1, 1)
        if augmentations[0].crop.side != SIDE:
            positive, known = targets[_LESIONS].max(axis=(1, 2, 3)), is_marked
    targets["predictions"] = np.stack([1.0 - positive, positive], axis=1)
    sample_weights["predictions"] = known
    channels = np.repeat(images[..., np.newaxis].astype(np.float32), CHANNELS, axis=3)
    return TrainingBatch(channels, targets, sample_weights)


def _coarsen(cells: NDArray[np.bool_]) -> Array:
    """Reduce ``(N, side / 4, side / 4)`` to ``(N, side / 16, side / 16, 1)``: the maximum of 4 x 4 cells."""
    factor = STRIDE // CELL
    many, side = len(cells), cells.shape[1] // factor
    coarse = cells.reshape(many, side, factor, side, factor).max(axis=(2, 4))
    return np.asarray(coarse[..., np.newaxis], np.float32)


def _train_epoch(network: TrainableModel, batches: Iterator[TrainingBatch], epoch: int, listener: Listener) -> float:
    """Train on each batch; return the mean of the batches' losses."""
    total = mean = 0.0
    for step, batch in enumerate(batches, start=1):
        logs = network.train_on_batch(batch.images, batch.targets, batch.sample_weights, return_dict=True)
        total += float(logs["loss"])
        mean = total / step
        if not np.isfinite(mean):
            raise UsageError(
                f"the loss is not finite any more in epoch {epoch}: start anew with a lower --learning-rate"
            )
        listener.on_step(epoch, step, mean)
    return mean


def _validation_aucs(network: TrainableModel, examples: TrainingSet, recipe: Recipe) -> tuple[float, float]:
    """Compute the ROC AUC of the probability and of the lesion map's largest value, on whole images."""
    rows = _validation_rows(examples, recipe.validation_limit)
    scores, peaks = _predict(network, examples, rows, recipe.batch_size)
    roc_auc_score = toolchain.package("sklearn.metrics").roc_auc_score
    lesion_auc = np.nan if np.isnan(peaks).any() else float(roc_auc_score(examples.labels[rows], peaks))
    return float(roc_auc_score(examples.labels[rows], scores)), lesion_auc


def _predict(
    network: TrainableModel, examples: TrainingSet, rows: NDArray[np.intp], batch_size: int
) -> tuple[Array, Array]:
    """Predict whole images: ``p_metastasis (N,)``, and the lesion map's largest value ``(N,)``, NaN without a map."""
    scores: list[Array] = []
    peaks: list[Array] = []
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        batch = _batch_of(examples, chosen, [Augmentation()] * len(chosen))
        outputs = network.predict_on_batch(batch.images)
        scores.append(outputs["predictions"][:, 1])
        missing = np.full(len(chosen), np.nan, np.float32)
        peaks.append(outputs[_LESIONS].max(axis=(1, 2, 3)) if _LESIONS in outputs else missing)
    return np.concatenate(scores), np.concatenate(peaks)


def _validation_rows(examples: TrainingSet, limit: int) -> NDArray[np.intp]:
    """Return at most `limit` rows, half of each class if there are enough, the same ones in every call."""
    rows = examples.rows[Subset.VALIDATION]
    positives, negatives = rows[examples.labels[rows]], rows[~examples.labels[rows]]
    many = min(len(positives), max(limit // 2, limit - len(negatives), 1))
    return np.concatenate([positives[:many], negatives[: max(limit - many, 1)]])


def _save_state(network: TrainableModel, out: Path, history: list[Epoch]) -> None:
    """Write the history, then network and optimiser; the name of the state file holds the epoch."""
    with replace_file(out / HISTORY) as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        names = Epoch.__slots__
        write_csv(stream, [names, *([getattr(row, name) for name in names] for row in history)])
    state = out / _STATE.format(len(history))
    _save_model(network, state)
    for older in set(out.glob(_STATES)) - {state}:
        older.unlink()


def _save_model(network: KerasModel, path: Path) -> None:
    with replace_file(path, path.with_name(f"aside-{path.name}")) as aside:  # Keras needs the suffix of the name
        toolchain.save(network, aside)


def _read_history(out: Path) -> list[Epoch]:
    """Read the epochs up to the newest saved state."""
    states = sorted(out.glob(_STATES))
    if not states:
        return []
    with (out / HISTORY).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))[: int(states[-1].name.split(".")[0].removeprefix("state-"))]
    return [
        Epoch(
            int(row["epoch"]),
            int(row["side"]),
            float(row["loss"]),
            float(row["validation_auc"]),
            float(row["lesion_auc"]),
            float(row["seconds"]),
        )
        for row in rows
    ]


def _finish(network: TrainableModel, config: TrainConfig, examples: TrainingSet) -> None:
    """Write the plain network: no second output, no batch normalisation, no optimiser."""
    plain = fold(network, config.network)
    criterion = config.recipe.operating_point
    if criterion is not ThresholdCriterion.TRAINED:
        rows = examples.rows[Subset.VALIDATION]
        scores, _ = _predict(network, examples, rows, config.recipe.batch_size)
        move_threshold(plain, threshold_of(criterion, examples.labels[rows], scores, examples.centres[rows]))
    _save_model(plain, config.out / MODEL)


def threshold_of(
    criterion: ThresholdCriterion, labels: NDArray[np.bool_], scores: Array, centres: NDArray[np.str_]
) -> float:
    """Choose a threshold; scores of at least that value are positive. All arrays are ``(N,)``."""
    weights = None
    if criterion is ThresholdCriterion.MACRO_EQUAL_ERRORS:
        _, cells, sizes = np.unique(np.char.add(labels.astype(str), centres), return_inverse=True, return_counts=True)
        weights = 1.0 / sizes[cells]
    roc_curve = toolchain.package("sklearn.metrics").roc_curve
    fpr, tpr, thresholds = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    worth = tpr - fpr if criterion is ThresholdCriterion.YOUDEN else -np.abs(tpr + fpr - 1.0)
    return float(thresholds[1:][np.argmax(worth[1:])])  # the first threshold is infinite
