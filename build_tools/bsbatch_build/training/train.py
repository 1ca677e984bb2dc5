"""Trains the network as the paper does, from top to bottom: labels, split, images, network, epochs, checkpoint.

Ibrahim et al., Cancer Imaging 2023; 23:12, "Model architecture, training and testing". The paper starts from ImageNet
weights. Where those are not to be had, four settings get the same plain VGG16 off the ground: batch normalisation that
is folded in at the end, a narrow network that is widened later, the lesions' places as a second target, and first
epochs on crops around them.
"""

import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError, OutputError, UsageError
from bsbatch.evaluation.labels import Label, read_labels
from bsbatch.host.files import replace_file, replace_text
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.host.threads import prefetch
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import sha256_of
from bsbatch_build import toolchain
from bsbatch_build.network import weights
from bsbatch_build.network.network import CHANNELS, FLOAT32, MIXED, RELU, SIDE, NetworkSettings, build
from bsbatch_build.network.surgery import fold, move_threshold
from bsbatch_build.training.augmentation import CELL, STRIDE, Field, Look, Window, blur_some
from bsbatch_build.training.dataset import GRID, Dataset, open_dataset, read_masks
from bsbatch_build.training.recipe import PAPER, LesionMap, OperatingPoint, Precision, Recipe, Schedule
from bsbatch_build.training.split import Side, SplitSettings, counts, divide, write_split

CONFIG, SPLIT, UNUSED, HISTORY, MODEL, LOGS = (
    "config.json",
    "split.csv",
    "unused.csv",
    "history.csv",
    "model.keras",
    "logs",
)
_STATE, _STATES = "state-{:04d}.weights.h5", "state-*.weights.h5"
"""Weights and optimiser after so many epochs."""
_LESIONS = "lesions"
_ON_LESION = 0.5
"""Share of the crops that lie where a lesion is, in this image or, for a negative, in another; the others lie where
the uptake is."""
_BATCHES_AHEAD = 2
_RARE = -4.0
"""Bias of the lesion output at the start: about 2 % of the cells hold a lesion."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything ``bsbatch-build train`` was told."""

    archive: Path
    labels: Path
    out: Path
    masks: Path | None = None
    """Folder of lesion masks, see `bsbatch_build.training.dataset.read_masks`; None trains on labels alone."""
    cache: Path | None = None
    """Folder of the preprocessed images; None for ``out/cache``."""
    network: NetworkSettings = field(default_factory=lambda: NetworkSettings(weights.IMAGENET))
    average: Path | None = None
    """A second file of weights: the start is the mean of both (model soups: Wortsman et al., ICML 2022)."""
    recipe: Recipe = PAPER
    split: SplitSettings = field(default_factory=SplitSettings)

    def __post_init__(self) -> None:
        """Refuse crops around nothing, and a start that batch normalisation has no averages for."""
        if self.recipe.crop_epochs and self.masks is None:
            raise UsageError("--crop-epochs cuts around the lesions: say --masks FOLDER")
        if self.recipe.batch_norm and (self.network.weights != weights.RANDOM or self.average is not None):
            raise UsageError("--batch-norm starts from random weights: say --weights random and no --average")


@dataclass(frozen=True, slots=True)
class Epoch:
    """A row of ``history.csv``."""

    epoch: int
    """From 1 on."""
    side: int
    """Rows and columns of the images or crops."""
    loss: float
    """Mean over the batches."""
    validation_auc: float
    lesion_auc: float
    """The same of the hottest cell of the lesions' places; NaN without masks."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left."""

    out: Path
    history: tuple[Epoch, ...]
    studies: Mapping[str, Mapping[str, int]]
    """Side and centre -> class -> labelled studies."""


class Listener(Protocol):
    """Who is told of the progress."""

    def reading(self, examinations: int) -> None:
        """So many more examinations of the archive were read."""
        ...

    def step(self, epoch: int, step: int, loss: float) -> None:
        """A batch was learned from; `loss` is the mean of the epoch so far."""
        ...

    def epoch(self, row: Epoch) -> None:
        """An epoch is over and saved."""
        ...


def train(config: TrainConfig, listener: Listener) -> Trained:
    """Train, or go on where a killed training of the same configuration stopped; what is finished is left alone.

    Leaves in ``config.out``: ``config.json`` (the resolved configuration), ``split.csv``, ``unused.csv`` (labelled
    studies without an image, examinations without a label, and why), ``history.csv``, ``logs`` for TensorBoard, and
    ``model.keras``, the paper's plain network.

    Raises
    ------
    UsageError
        The labels, the split or the masks cannot be used, or ``out`` holds another training.
    ModelError
        The weights to start from do not fit.
    OutputError
        ``out`` cannot be written.
    """
    labels = read_labels(config.labels).labels
    sides = divide(labels, config.split)
    resolved = _resolved(config, counts(labels, sides))
    try:
        _claim(config.out, resolved)
        history = _read_history(config.out)
        if len(history) == config.recipe.epochs and (config.out / MODEL).is_file():
            return Trained(config.out, tuple(history), resolved["studies"])
        data = open_dataset(config.archive, config.cache or config.out / "cache", listener.reading)
        cohort = _cohort(data, labels, sides, config.masks)
        write_split(config.out / SPLIT, labels, sides)
        _write_unused(config.out / UNUSED, data, labels)
        history = _learn(config, cohort, listener)
    except OSError as error:
        raise OutputError.of(config.out, error) from error
    return Trained(config.out, tuple(history), resolved["studies"])


def _resolved(config: TrainConfig, studies: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """What decides the weights, for ``config.json`` and the model card."""
    toolchain.tensorflow()  # before it is imported below with its greeting
    versions = {name: toolchain.package(name).__version__ for name in ("bsbatch", "tensorflow", "keras", "numpy")}
    return {
        "version": 1,
        "network": {name: getattr(config.network, name) for name in ("width", "early_width", "seed")},
        "start": _start(config.network.weights),
        **({"average": _start_from(config.average, "--average")} if config.average is not None else {}),
        "recipe": asdict(config.recipe),
        "split": {**asdict(config.split), "external": list(config.split.external)},
        "masks": config.masks is not None,
        "preprocessing_version": VERSION,
        "studies": studies,
        "tools": versions,
    }


def _start(start: str) -> dict[str, Any]:
    """Where the weights come from."""
    if start in (weights.RANDOM, weights.IMAGENET):
        return {"weights": start}
    return _start_from(Path(start), "--weights (or random, imagenet)")


def _start_from(path: Path, option: str) -> dict[str, Any]:
    """A file of weights; of one that an earlier training left, that training, too."""
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file; give a .keras or .h5 file as {option}")
    return {"weights": path.name, "sha256": sha256_of(path), "run": read_run(path)}


def read_run(model: Path) -> dict[str, Any] | None:
    """The configuration and history of the training that left a ``model.keras``; None of any other file."""
    folder = model.parent
    if model.name != MODEL or not (folder / CONFIG).is_file():
        return None
    resolved: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return {**resolved, "history": [asdict(epoch) for epoch in _read_history(folder)]}


def _claim(out: Path, resolved: dict[str, Any]) -> None:
    """Make the folder this training's own, or refuse it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(resolved)):
        raise UsageError(f"{out} holds a training with another configuration or labels: give another --out")
    if not path.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no training: give another --out")
    replace_text(path, json.dumps(resolved, indent=2) + "\n")


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """What there is to learn from; everything by row of the images."""

    data: Dataset
    labels: NDArray[np.bool_]
    """``(N,)`` True for metastasis; False, too, for rows of no side."""
    rows: Mapping[Side, NDArray[np.intp]]
    lesions: NDArray[np.uint8] | None
    """``(N, 128, 128)``, 1 in the cells that a lesion touches."""
    is_marked: NDArray[np.bool_]
    """``(N,)`` whether it is known where the lesions are: masks, or a negative."""
    centres: NDArray[np.str_]
    """``(N,)`` names, empty where none is known."""

    @property
    def lesion_rows(self) -> NDArray[np.intp]:
        """Rows whose lesions are known, at least one."""
        return np.flatnonzero(self.labels & self.is_marked)

    def cells_of(self, row: int) -> NDArray[np.uint8]:
        """``(128, 128)`` lesions of one row."""
        return np.zeros((GRID, GRID), np.uint8) if self.lesions is None else self.lesions[row]


def _cohort(data: Dataset, labels: Mapping[str, Label], sides: Mapping[str, Side], masks: Path | None) -> Cohort:
    known = [labels.get(entry.study_uid or "") for entry in data.entries]
    positive = np.array([label is not None and label.is_positive for label in known], bool)
    rows = {
        side: np.array([row for row, label in enumerate(known) if label and sides[label.study_uid] is side], np.intp)
        for side in Side
    }
    for side in (Side.TRAIN, Side.VALIDATION):
        _require_both_classes(side, positive[rows[side]])
    centres = np.array([(label.centre if label else None) or "" for label in known], str)
    if masks is None:
        return Cohort(data, positive, rows, None, np.zeros(len(known), bool), centres)
    lesions, is_marked = np.zeros((len(known), GRID, GRID), np.uint8), ~positive
    for row in rows[Side.TRAIN][positive[rows[Side.TRAIN]]]:
        mask = read_masks(masks, data.entries[row].study_uid or "")
        if mask is not None:
            lesions[row], is_marked[row] = mask, bool(mask.any())
    if not lesions.any():
        raise UsageError(
            f"{masks} holds no mask of a positive study: the files are <study_uid>_anterior.png, _posterior.png"
        )
    return Cohort(data, positive, rows, lesions, is_marked, centres)


def _require_both_classes(side: Side, positive: NDArray[np.bool_]) -> None:
    if positive.all() or not positive.any():
        found = f"{positive.sum()} positive and {(~positive).sum()} negative examinations"
        raise UsageError(
            f"the {side} set has {found}: both classes are needed. Label more studies, or change the split"
        )


def _write_unused(path: Path, data: Dataset, labels: Mapping[str, Label]) -> None:
    """List every labelled study without an image, and every examination without a label."""
    usable = {entry.study_uid for entry in data.entries}
    failed = {entry.study_uid: entry.reason for entry in data.failed}
    rows = [(uid, failed.get(uid) or "not_in_archive") for uid in labels if uid not in usable]
    rows += [(entry.study_uid or "", "no_label") for entry in data.entries if entry.study_uid not in labels]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([("study_uid", "reason"), *rows])


def _learn(config: TrainConfig, cohort: Cohort, listener: Listener) -> list[Epoch]:
    recipe, seed = config.recipe, config.network.seed
    toolchain.make_deterministic(seed)
    history = _read_history(config.out)
    keep_freed_memory()  # TensorFlow maps large tensors anew each time
    network = compiled(config)
    if history:
        network.load_weights(config.out / _STATE.format(len(history)))
    writer = toolchain.tensorflow().summary.create_file_writer(str(config.out / LOGS))
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        started, side = time.monotonic(), recipe.crop_side if epoch <= recipe.crop_epochs else SIDE
        with closing(prefetch(batches(cohort, recipe, (seed, epoch), side), _BATCHES_AHEAD)) as drawn:
            loss = _one_epoch(network, drawn, epoch, listener)
        with _averaged(network):
            aucs = _validation_aucs(network, cohort, recipe)
        history.append(Epoch(epoch, side, loss, *aucs, round(time.monotonic() - started, 1)))
        _save(network, config.out, history)
        with writer.as_default(step=epoch):
            for name in ("loss", "validation_auc", "lesion_auc", "side"):
                toolchain.tensorflow().summary.scalar(name, getattr(history[-1], name))
        listener.epoch(history[-1])
    writer.close()
    with _averaged(network):
        _finish(network, config, cohort)
    return history


def compiled(config: TrainConfig) -> Any:
    """Build the network to train, with its losses and its optimiser; the lesions' places are a second output."""
    keras, recipe = toolchain.keras(), config.recipe
    dtype = MIXED if recipe.precision is Precision.BFLOAT16 else FLOAT32
    network = build(config.network, batch_norm=recipe.batch_norm, side=None, dtype=dtype)
    if not recipe.batch_norm:
        network.set_weights(_loaded(config))
    outputs = {"predictions": network.output}
    losses: dict[str, Any] = {"predictions": "categorical_crossentropy"}
    if config.masks is not None:
        places = network.get_layer("block5_conv3" + RELU * recipe.batch_norm).output
        if recipe.lesion_map is LesionMap.CAM:
            places = _grad_cam(network, places)
        bias = keras.initializers.Constant(_RARE)
        zeros = keras.initializers.Zeros()
        outputs[_LESIONS] = keras.layers.Conv2D(
            1,
            1,
            name=_LESIONS,
            kernel_initializer=zeros,
            bias_initializer=bias,
            data_format="channels_last",
            dtype=FLOAT32,
        )(places)
        losses[_LESIONS] = keras.losses.BinaryCrossentropy(from_logits=True)
    model = keras.Model(network.input, outputs, name="training")
    loss_weights = {name: recipe.lesion_weight if name == _LESIONS else 1.0 for name in losses}
    model.compile(_optimizer(keras, recipe), losses, loss_weights=loss_weights)
    model.optimizer.build(model.trainable_variables)  # what is loaded has its variables, too
    return model


def _loaded(config: TrainConfig) -> list[NDArray[np.float32]]:
    """The weights to start from, or the mean of the two that were named."""
    names = [config.network.weights, *([] if config.average is None else [str(config.average)])]
    starts = [weights.load(replace(config.network, weights=name), may_widen=True).get_weights() for name in names]
    return [np.mean(arrays, axis=0, dtype=np.float32) for arrays in zip(*starts, strict=True)]


def _grad_cam(network: Any, features: Any) -> Any:
    """The Grad-CAM map of metastasis ``(N, rows, columns, 1)``, up to a factor: see `bsbatch_build.export.cam_head`."""
    keras = toolchain.keras()
    hidden, scores = (network.get_layer(name) for name in ("fc1", "predictions"))

    def weighted(tensors: list[Any]) -> Any:
        places, activation = tensors
        direction = scores.kernel[:, 1] - scores.kernel[:, 0]
        channels = keras.ops.matmul(keras.ops.sign(activation) * direction, keras.ops.transpose(hidden.kernel))
        return keras.ops.einsum("nrck,nk->nrc", places, channels)[..., np.newaxis]

    return keras.layers.Lambda(weighted, name="cam", dtype=FLOAT32)([features, hidden.output])


def _optimizer(keras: Any, recipe: Recipe) -> Any:
    rate: Any = recipe.learning_rate
    if recipe.schedule is Schedule.COSINE:
        rate = keras.optimizers.schedules.CosineDecay(rate, (recipe.horizon or recipe.epochs) * recipe.steps)
    return keras.optimizers.Adam(rate, use_ema=recipe.ema_momentum > 0.0, ema_momentum=recipe.ema_momentum)


@contextmanager
def _averaged(network: Any) -> Iterator[None]:
    """Within, the network has the averages of its weights, where its optimiser keeps such."""
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
class Batch:
    """What one step learns from."""

    images: NDArray[np.float32]
    """``(N, side, side, 3)`` in [0, 1]."""
    targets: dict[str, NDArray[np.float32]]
    """``predictions (N, 2)`` and, given masks, ``lesions (N, side / 16, side / 16, 1)``."""
    sample_weights: dict[str, NDArray[np.float32]]
    """``(N,)`` for predictions, ``(N, 1, 1)`` for lesions."""


def batches(cohort: Cohort, recipe: Recipe, seed: tuple[int, int], side: int) -> Iterator[Batch]:
    """Draw the batches of one epoch: all positives and as many negatives drawn anew, in random order.

    A longer epoch goes on with another such round, a shorter one ends within it.

    Parameters
    ----------
    seed
        Of the training, and the number of the epoch.
    side
        Rows and columns of the images.
    """
    rng = np.random.default_rng(seed)
    rows = cohort.rows[Side.TRAIN]
    drawn = _balanced(rng, rows[cohort.labels[rows]], rows[~cohort.labels[rows]], recipe.steps * recipe.batch_size)
    for chosen in drawn.reshape(recipe.steps, recipe.batch_size):
        flips = rng.random(recipe.batch_size) < 0.5 * recipe.flip
        windows = [_window(rng, cohort, row, side) for row in chosen]
        widest = recipe.field if side == SIDE else 1.0
        fields = [Field.drawn(rng, widest, cohort.data.images[row]) for row in chosen]
        batch = _batch(cohort, chosen, list(map(Look, windows, flips.tolist(), fields)))
        if recipe.blur and side == SIDE:
            blur_some(rng, recipe.blur, batch.images)
        yield batch


def _balanced(
    rng: np.random.Generator, positives: NDArray[np.intp], negatives: NDArray[np.intp], wanted: int
) -> NDArray[np.intp]:
    rounds: list[NDArray[np.intp]] = []
    while sum(map(len, rounds)) < wanted:
        others = rng.choice(negatives, len(positives), replace=len(negatives) < len(positives))
        rounds.append(rng.permutation(np.concatenate([positives, others])))
    return np.concatenate(rounds)[:wanted]


def _window(rng: np.random.Generator, cohort: Cohort, row: int, side: int) -> Window:
    """The whole image, or a crop around a lesion or around some uptake, off centre by up to a quarter of its side."""
    if side == SIDE or cohort.lesions is None:
        return Window()
    centre = _lesion_place(rng, cohort, row) if rng.random() < _ON_LESION else _uptake_place(rng, cohort, row)
    corner = np.asarray(centre) - side // 2 + rng.integers(-side // 4, side // 4, 2)
    top, left = np.clip(corner // STRIDE * STRIDE, 0, SIDE - side).tolist()
    return Window(top, left, side)


def _lesion_place(rng: np.random.Generator, cohort: Cohort, row: int) -> NDArray[np.intp]:
    """A pixel of a lesion, of another image where this one has none: both classes are cut at the same places."""
    lesions = cohort.lesions
    if lesions is None or not lesions[row].any():
        row = int(rng.choice(cohort.lesion_rows))
    return np.asarray(rng.choice(np.argwhere(cohort.cells_of(row))) * CELL, np.intp)


def _uptake_place(rng: np.random.Generator, cohort: Cohort, row: int) -> NDArray[np.intp]:
    """A pixel, with a chance that grows with the root of the uptake around it."""
    many = SIDE // STRIDE
    coarse = cv2.resize(np.asarray(cohort.data.images[row], np.float32), (many, many), interpolation=cv2.INTER_AREA)
    chance = np.sqrt(coarse).ravel().astype(np.float64)
    place = int(rng.choice(chance.size, p=chance / chance.sum()))
    return np.asarray(divmod(place, many), np.intp) * STRIDE


def _batch(cohort: Cohort, rows: NDArray[np.intp], looks: Sequence[Look]) -> Batch:
    examples = list(zip(rows.tolist(), looks, strict=True))
    images = np.stack([look.at(cohort.data.images[row]) for row, look in examples])
    positive = cohort.labels[rows].astype(np.float32)
    known: NDArray[np.float32] = np.ones(len(rows), np.float32)
    targets, sample_weights = {}, {}
    if cohort.lesions is not None:
        cells = [look.at(cohort.cells_of(row), CELL) > 0 for row, look in examples]
        targets[_LESIONS] = _coarser(np.stack(cells))
        is_marked = cohort.is_marked[rows].astype(np.float32)
        sample_weights[_LESIONS] = is_marked.reshape(-1, 1, 1)
        if looks[0].window.side != SIDE:
            positive, known = targets[_LESIONS].max(axis=(1, 2, 3)), is_marked
    targets["predictions"] = np.stack([1.0 - positive, positive], axis=1)
    sample_weights["predictions"] = known
    channels = np.repeat(images[..., np.newaxis].astype(np.float32), CHANNELS, axis=3)
    return Batch(channels, targets, sample_weights)


def _coarser(cells: NDArray[np.bool_]) -> NDArray[np.float32]:
    """``(N, side / 4, side / 4)`` to ``(N, side / 16, side / 16, 1)``: 1 where any cell below is."""
    factor = STRIDE // CELL
    many, side = len(cells), cells.shape[1] // factor
    coarse = cells.reshape(many, side, factor, side, factor).max(axis=(2, 4))
    return np.asarray(coarse[..., np.newaxis], np.float32)


def _one_epoch(network: Any, drawn: Iterator[Batch], epoch: int, listener: Listener) -> float:
    """Learn from each batch; the mean loss, which Keras gives for each batch alone."""
    total = mean = 0.0
    for step, batch in enumerate(drawn, start=1):
        logs = network.train_on_batch(batch.images, batch.targets, batch.sample_weights, return_dict=True)
        total += float(logs["loss"])
        mean = total / step
        if not np.isfinite(mean):
            raise UsageError(
                f"the loss is no number any more in epoch {epoch}: start anew with a lower --learning-rate"
            )
        listener.step(epoch, step, mean)
    return mean


def _validation_aucs(network: Any, cohort: Cohort, recipe: Recipe) -> tuple[float, float]:
    """ROC AUC of the probability and of the hottest cell, on whole images."""
    rows = _validation_rows(cohort, recipe.validation_limit)
    scores, hottest = _predicted(network, cohort, rows, recipe.batch_size)
    roc_auc_score = toolchain.package("sklearn.metrics").roc_auc_score
    lesion_auc = np.nan if np.isnan(hottest).any() else float(roc_auc_score(cohort.labels[rows], hottest))
    return float(roc_auc_score(cohort.labels[rows], scores)), lesion_auc


def _predicted(
    network: Any, cohort: Cohort, rows: NDArray[np.intp], batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``p_metastasis (N,)`` of whole images, and the hottest cell ``(N,)``, NaN where there is no such output."""
    scores: list[NDArray[np.float32]] = []
    hottest: list[NDArray[np.float32]] = []
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        batch = _batch(cohort, chosen, [Look()] * len(chosen))
        outputs = network.predict_on_batch(batch.images)
        scores.append(outputs["predictions"][:, 1])
        hottest.append(outputs[_LESIONS].max(axis=(1, 2, 3)) if _LESIONS in outputs else np.full(len(chosen), np.nan))
    return np.concatenate(scores), np.concatenate(hottest)


def _validation_rows(cohort: Cohort, limit: int) -> NDArray[np.intp]:
    """At most so many rows, half of each class where there are enough; always the same ones."""
    rows = cohort.rows[Side.VALIDATION]
    positives, negatives = rows[cohort.labels[rows]], rows[~cohort.labels[rows]]
    many = min(len(positives), max(limit // 2, limit - len(negatives), 1))
    return np.concatenate([positives[:many], negatives[: max(limit - many, 1)]])


def _save(network: Any, out: Path, history: list[Epoch]) -> None:
    """Write network, optimiser and history aside and rename them; the state's name says which epoch it is of."""
    with replace_file(out / HISTORY) as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Epoch.__slots__)
        writer.writerows([getattr(row, name) for name in Epoch.__slots__] for row in history)
    state = out / _STATE.format(len(history))
    _save_model(network, state)
    for older in set(out.glob(_STATES)) - {state}:
        older.unlink()


def _save_model(network: Any, path: Path) -> None:
    with replace_file(path, path.with_name(f"aside-{path.name}")) as aside:  # Keras goes by the end of the name
        toolchain.save(network, aside)


def _read_history(out: Path) -> list[Epoch]:
    """The epochs up to the newest state that was saved."""
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


def _finish(network: Any, config: TrainConfig, cohort: Cohort) -> None:
    """Leave the plain network: no second output, no batch normalisation, no optimiser."""
    plain = fold(network, config.network)
    point = config.recipe.operating_point
    if point is not OperatingPoint.TRAINED:
        rows = cohort.rows[Side.VALIDATION]
        scores, _ = _predicted(network, cohort, rows, config.recipe.batch_size)
        move_threshold(plain, threshold_of(point, cohort.labels[rows], scores, cohort.centres[rows]))
    _save_model(plain, config.out / MODEL)


def threshold_of(
    point: OperatingPoint, labels: NDArray[np.bool_], scores: NDArray[np.float32], centres: NDArray[np.str_]
) -> float:
    """The threshold of an operating point, where a score as large counts as positive; all arrays are ``(N,)``."""
    weights = None
    if point is OperatingPoint.MACRO_EQUAL_ERRORS:
        _, cells, sizes = np.unique(np.char.add(labels.astype(str), centres), return_inverse=True, return_counts=True)
        weights = 1.0 / sizes[cells]
    roc_curve = toolchain.package("sklearn.metrics").roc_curve
    fpr, tpr, thresholds = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    worth = tpr - fpr if point is OperatingPoint.YOUDEN else -np.abs(tpr + fpr - 1.0)
    return float(thresholds[1:][np.argmax(worth[1:])])  # the first one is infinite
