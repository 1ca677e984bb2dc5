"""Training: batches, saved files, resumption, refusals."""

import csv
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.archives import COLUMNS, ROWS, Scan, dataset_of, pixels_of, uid, write

from bsbatch.backends.keras_cams import KerasTape
from bsbatch.errors import ModelError, UsageError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import Model
from bsbatch_build import toolchain
from bsbatch_build.cli import main as bsbatch_build
from bsbatch_build.cli.train import _summary
from bsbatch_build.export.trained import find_file, network_of
from bsbatch_build.network.network import SIDE, NetworkSettings, build
from bsbatch_build.training.dataset import GRID, CachedExam, Dataset
from bsbatch_build.training.progress import Epoch, TrainingResult
from bsbatch_build.training.recipe import LesionMap, Precision, Recipe, Schedule, ThresholdCriterion
from bsbatch_build.training.split import SplitSettings, Subset
from bsbatch_build.training.train import (
    CONFIG,
    HISTORY,
    LOGS,
    MODEL,
    SPLIT,
    UNUSED,
    TrainConfig,
    TrainingBatch,
    TrainingSet,
    compile_network,
    draw_batches,
    threshold_of,
    train,
)

STUDIES = 16
RECIPE = Recipe(
    epochs=2,
    steps=2,
    batch_size=2,
    batch_norm=True,
    crop_epochs=1,
    schedule=Schedule.COSINE,
    operating_point=ThresholdCriterion.EQUAL_ERRORS,
)
TWIN = NetworkSettings("random", seed=5, width=0.0625)


class ProgressRecord:
    """Records the progress; stops the training in a given epoch."""

    def __init__(self, stop_in: int | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self.epochs: list[Epoch] = []
        self._stop_in = stop_in

    def on_read(self, examinations: int) -> None: ...

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        assert loss > 0.0
        self.steps.append((epoch, step))
        if epoch == self._stop_in:
            raise KeyboardInterrupt

    def on_epoch(self, row: Epoch) -> None:
        self.epochs.append(row)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 studies of three centres, every other one with a lesion and its masks."""
    folder = tmp_path_factory.mktemp("hospital")
    (folder / "masks").mkdir()
    rows = [("study_uid", "label", "centre", "patient_id")]
    for study in range(STUDIES):
        positive = study % 2
        scan = Scan(study)
        pixels, mask = pixels_of(scan), np.zeros((ROWS, COLUMNS), np.uint8)
        if positive:
            mask[200:220, 100:120] = 1
            pixels[:, mask > 0] += 300
            for view in ("anterior", "posterior"):
                cv2.imwrite(str(folder / "masks" / f"{uid('study', study)}_{view}.png"), mask)
        write(dataset_of(scan, pixels), folder / "archive" / f"{study}.dcm")
        rows.append((uid("study", study), str(positive), "ABC"[study % 3], f"p{study}"))
    rows.append(("1.2.3.4", "1", "A", "absent"))
    write(dataset_of(Scan(500)), folder / "archive" / "unlabelled.dcm")
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def config_of(hospital: Path, out: Path, recipe: Recipe = RECIPE) -> TrainConfig:
    return TrainConfig(
        hospital / "archive",
        hospital / "labels.csv",
        out,
        hospital / "masks",
        hospital / "cache",
        TWIN,
        None,
        recipe,
        SplitSettings(validation_share=0.3),
    )


@contextmanager
def eager_mode() -> Iterator[None]:
    """Run TensorFlow without graphs: tracing one takes longer than the few steps of a test."""
    config = toolchain.tensorflow().config
    config.run_functions_eagerly(True)
    try:
        yield
    finally:
        config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def trained(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    with eager_mode():
        train(config_of(hospital, out), ProgressRecord())
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_training_leaves_model_configuration_split_history_and_logs(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names == {CONFIG, SPLIT, UNUSED, HISTORY, MODEL, LOGS, "state-0002.weights.h5"}
    assert list((trained / LOGS).glob("events*"))
    resolved = json.loads((trained / CONFIG).read_text(encoding="utf-8"))
    assert resolved["recipe"]["learning_rate"] == 1e-4
    assert resolved["network"] == {"width": 0.0625, "early_width": None, "seed": 5}
    assert resolved["studies"]["test C"] == {"positive": 2, "negative": 3}
    assert str(trained.parent) not in json.dumps(resolved)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_the_next_command_that_a_training_prints_exports_its_network(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a training"
    shutil.copytree(trained, folder)
    (line,) = (line for line in _summary(TrainingResult(folder, (), {})).splitlines() if line.startswith("next"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(line)[1:])

    with pytest.raises(SystemExit) as done:
        bsbatch_build()

    assert done.value.code == 0
    assert Model.load(tmp_path / "MODEL", VERSION).manifest.training["width"] == TWIN.width


def test_a_folder_without_a_finished_training_is_no_origin_of_weights(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no folder of bsbatch-build train"):
        find_file(tmp_path)
    shutil.copy(trained / "config.json", tmp_path)
    with pytest.raises(ModelError, match="is not finished: the same bsbatch-build train goes on"):
        find_file(tmp_path)


def test_a_network_keeps_the_width_of_its_training_unless_it_is_widened_or_joined(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    config["network"]["early_width"] = 0.03125
    (tmp_path / "run/config.json").write_text(json.dumps(config), encoding="utf-8")
    file = str(tmp_path / "run/model.keras")

    assert network_of(str(tmp_path / "run"), 3, None, is_whole=True) == NetworkSettings(file, 3, TWIN.width, 0.03125)
    assert network_of(file, 3, None, is_whole=True) == NetworkSettings(file, 3, TWIN.width, 0.03125)
    assert network_of(file, 3, None, is_whole=False) == NetworkSettings(file, 3, 1.0)
    assert network_of(file, 3, 0.5, is_whole=False) == NetworkSettings(file, 3, 0.5)
    assert network_of("random", 3, None, is_whole=True) == NetworkSettings("random", 3, 1.0)


def test_the_model_is_the_plain_network_without_batch_normalisation(trained: Path) -> None:
    network = toolchain.keras().models.load_model(trained / MODEL, compile=False)
    assert [layer.name for layer in network.layers if "norm" in layer.name or "lesions" in layer.name] == []
    assert network.output_shape == (None, 2)


def test_convolutions_trained_in_bfloat16_leave_the_float32_network(hospital: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, precision=Precision.BFLOAT16)
    train(config_of(hospital, tmp_path / "run", recipe), ProgressRecord())
    network: Any = compile_network(config_of(hospital, tmp_path / "run", recipe))
    assert network.get_layer("block3_conv1").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in network.weights} == {"float32"}
    left = toolchain.keras().models.load_model(tmp_path / "run" / MODEL, compile=False)
    assert {layer.compute_dtype for layer in left.layers} == {"float32"}


def test_the_loss_compares_lesions_with_the_map_of_gradient_tape(hospital: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, lesion_map=LesionMap.CAM)
    config = config_of(hospital, tmp_path / "run", recipe)
    train(config, ProgressRecord())
    learned, keras = compile_network(config), toolchain.keras()
    learned.load_weights(tmp_path / "run" / "state-0001.weights.h5")
    images = np.random.default_rng(1).random((2, 1, SIDE, SIDE), np.float32)
    maps = keras.Model(learned.input, learned.get_layer("cam").output)(
        np.repeat(images, 3, axis=1).transpose(0, 2, 3, 1)
    )
    expected = KerasTape(keras.models.load_model(tmp_path / "run" / MODEL, compile=False)).maps(images)
    assert np.abs(expected).max() > 0.0
    for one, other in zip(np.asarray(maps)[..., 0], expected, strict=True):
        np.testing.assert_allclose(one / np.abs(one).max(), other / np.abs(other).max(), atol=1e-4)


def test_a_training_can_start_from_the_mean_of_two_networks(hospital: Path, tmp_path: Path) -> None:
    networks = [build(replace(TWIN, seed=seed)) for seed in (1, 2)]
    one, other = tmp_path / "one.keras", tmp_path / "other.keras"
    for network, path in zip(networks, (one, other), strict=True):
        toolchain.save(network, path)
    config = replace(
        config_of(hospital, tmp_path / "run", Recipe()), network=replace(TWIN, weights=str(one)), average=other
    )
    start = compile_network(config).get_layer("block3_conv1").get_weights()
    for mean, *both in zip(
        start, *(network.get_layer("block3_conv1").get_weights() for network in networks), strict=True
    ):
        np.testing.assert_allclose(mean, (both[0] + both[1]) / 2, atol=1e-7)


@eager_mode()
def test_the_result_is_the_moving_average_of_the_weights(hospital: Path, tmp_path: Path) -> None:
    """With and without a kill. After two steps the average with momentum 0.75 is 0.75 first + 0.25 second weights."""
    start = tmp_path / "start.keras"
    toolchain.save(build(TWIN), start)
    load = toolchain.keras().models.load_model

    def weights_after(name: str, epochs: int, ema_momentum: float, stop_in: int | None = None) -> list[Any]:
        recipe = Recipe(epochs=epochs, steps=1, batch_size=2, ema_momentum=ema_momentum, horizon=2)
        config = replace(config_of(hospital, tmp_path / name, recipe), network=replace(TWIN, weights=str(start)))
        if stop_in is not None:
            with pytest.raises(KeyboardInterrupt):
                train(config, ProgressRecord(stop_in))
        train(config, ProgressRecord())
        weights: list[Any] = load(tmp_path / name / MODEL, compile=False).get_weights()
        return weights

    first, second = weights_after("first", 1, 0.0), weights_after("second", 2, 0.0)
    averaged, resumed = weights_after("averaged", 2, 0.75), weights_after("resumed", 2, 0.75, stop_in=2)
    for one, other, mean, again in zip(first, second, averaged, resumed, strict=True):
        np.testing.assert_allclose(mean, 0.75 * one + 0.25 * other, atol=1e-7)
        np.testing.assert_array_equal(mean, again)
    assert any((one != other).any() for one, other in zip(first, second, strict=True))


def test_the_first_epochs_use_crops_and_the_others_whole_images(trained: Path) -> None:
    assert [(row["epoch"], row["side"]) for row in rows_of(trained / HISTORY)] == [("1", "192"), ("2", "512")]


def test_unused_studies_are_listed(trained: Path) -> None:
    assert rows_of(trained / UNUSED) == [
        {"study_uid": "1.2.3.4", "reason": "not_in_archive"},
        {"study_uid": uid("study", 500), "reason": "no_label"},
    ]


@eager_mode()
def test_a_killed_training_resumes_to_the_same_weights(hospital: Path, trained: Path, tmp_path: Path) -> None:
    config = config_of(hospital, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(config, ProgressRecord(stop_in=2))
    progress = ProgressRecord()
    train(config, progress)
    assert progress.steps == [(2, 1), (2, 2)]
    load = toolchain.keras().models.load_model
    one, other = (load(folder / MODEL, compile=False).get_weights() for folder in (trained, tmp_path / "run"))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)
    assert [row["loss"] for row in rows_of(trained / HISTORY)] == [
        row["loss"] for row in rows_of(tmp_path / "run" / HISTORY)
    ]


def test_a_finished_training_is_left_alone(hospital: Path, trained: Path) -> None:
    progress, before = ProgressRecord(), (trained / MODEL).stat().st_mtime_ns
    assert len(train(config_of(hospital, trained), progress).history) == 2
    assert not progress.steps
    assert (trained / MODEL).stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused(hospital: Path, trained: Path) -> None:
    with pytest.raises(UsageError, match="another configuration"):
        train(config_of(hospital, trained, replace(RECIPE, learning_rate=0.1)), ProgressRecord())


def test_a_folder_with_other_files_is_refused(hospital: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="holds no training"):
        train(config_of(hospital, tmp_path), ProgressRecord())


def test_one_class_only_is_refused(hospital: Path, tmp_path: Path) -> None:
    rows = (hospital / "labels.csv").read_text(encoding="utf-8").splitlines()
    lines = [row for row in rows if row.split(",")[1] != "0" or row.split(",")[2] == "C"]
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    config = replace(config_of(hospital, tmp_path / "run"), labels=tmp_path / "labels.csv")
    with pytest.raises(UsageError, match=r"the train set has .* positive and 0 negative"):
        train(config, ProgressRecord())


def test_a_folder_without_masks_of_the_studies_is_refused(hospital: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    with pytest.raises(UsageError, match="no mask of a positive study"):
        train(replace(config_of(hospital, tmp_path / "run"), masks=tmp_path / "masks"), ProgressRecord())


def test_missing_weights_are_refused_before_the_archive_is_read(hospital: Path, tmp_path: Path) -> None:
    missing = NetworkSettings(str(tmp_path / "none.keras"), 5, 0.0625)
    config = replace(config_of(hospital, tmp_path / "run", Recipe()), network=missing)
    progress = ProgressRecord()
    with pytest.raises(ModelError, match=r"no such file; give a \.keras or \.h5 file as --weights"):
        train(config, progress)
    with pytest.raises(ModelError, match=r"no such file; give a \.keras or \.h5 file as --average"):
        train(replace(config, network=TWIN, average=tmp_path / "none.keras"), progress)


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        (lambda: Recipe(epochs=3, horizon=2), "--horizon 2 is below --epochs 3"),
        (lambda: Recipe(steps=0), "--steps must be at least 1"),
        (lambda: Recipe(learning_rate=0.0), "--learning-rate must be above 0"),
        (lambda: Recipe(crop_epochs=7), "--crop-epochs 0 to --epochs"),
        (lambda: Recipe(ema_momentum=1.0), "--ema-momentum must be 0 or more and below 1"),
        (lambda: Recipe(ema_momentum=0.9, batch_norm=True), "give only one of them"),
        (lambda: TrainConfig(Path(), Path(), Path(), recipe=Recipe(crop_epochs=1)), "give --masks FOLDER"),
        (lambda: TrainConfig(Path(), Path(), Path(), recipe=Recipe(batch_norm=True)), "give --weights random"),
    ],
)
def test_settings_that_no_training_can_use_are_refused(faulty: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        faulty()


def training_set(positives: int, negatives: int, *, with_lesions: bool = True) -> TrainingSet:
    """Images whose pixels are their row number + 1, and a lesion in one cell of each positive."""
    many = positives + negatives
    images = np.broadcast_to(np.arange(many, dtype=np.float16)[:, np.newaxis, np.newaxis], (many, 512, 512)).copy()
    images += 1.0
    labels = np.arange(many) < positives
    lesions = np.zeros((many, GRID, GRID), np.uint8)
    lesions[:positives, 100, 20] = 1
    rows = {subset: np.zeros(0, np.intp) for subset in Subset} | {Subset.TRAIN: np.arange(many)}
    data = Dataset(images, tuple(CachedExam(str(n), str(n)) for n in range(many)), ())
    nowhere = np.zeros(many, "U1")
    return TrainingSet(data, labels, rows, lesions if with_lesions else None, np.ones(many, bool), nowhere)


def draw(examples: TrainingSet, recipe: Recipe, epoch: int = 1, side: int = 512) -> list[TrainingBatch]:
    return list(draw_batches(examples, recipe, (0, epoch), side))


def rows_in(batches: list[TrainingBatch]) -> list[int]:
    return [int(image[0, 0, 0]) - 1 for batch in batches for image in batch.images]


def test_an_epoch_uses_all_positives_and_as_many_negatives_drawn_anew() -> None:
    examples = training_set(5, 40)
    recipe = Recipe(steps=5, batch_size=2)
    epochs = [rows_in(draw(examples, recipe, epoch)) for epoch in (1, 2)]
    for rows in epochs:
        assert sorted(row for row in rows if row < 5) == [0, 1, 2, 3, 4]
        assert len({row for row in rows if row >= 5}) == 5
    assert {row for row in epochs[0] if row >= 5} != {row for row in epochs[1] if row >= 5}


def test_a_longer_epoch_continues_with_another_round() -> None:
    rows = rows_in(draw(training_set(2, 30), Recipe(steps=4, batch_size=2)))
    assert sorted(row for row in rows if row < 2) == [0, 0, 1, 1]
    assert len({row for row in rows if row >= 2}) > 2


def test_fewer_negatives_than_positives_are_drawn_again() -> None:
    rows = rows_in(draw(training_set(6, 2), Recipe(steps=6, batch_size=2)))
    assert sum(row >= 6 for row in rows) == 6


def test_the_same_seed_and_epoch_draw_the_same_batches() -> None:
    one, other = (draw(training_set(5, 9), Recipe(steps=3), side=192) for _ in range(2))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.images, right.images)
        np.testing.assert_array_equal(left.targets["lesions"], right.targets["lesions"])


def test_flipping_mirrors_the_image_with_its_lesions() -> None:
    batches = draw(training_set(8, 8), Recipe(steps=4, batch_size=4))
    columns = {
        int(np.argwhere(cells[..., 0])[0, 1]) for batch in batches for cells in batch.targets["lesions"] if cells.any()
    }
    assert columns == {20 // 4, 31 - 20 // 4}
    unflipped = draw(training_set(8, 8), Recipe(steps=4, batch_size=4, flip=False))
    assert {tuple(np.argwhere(c[..., 0])[0]) for b in unflipped for c in b.targets["lesions"] if c.any()} == {(25, 5)}


def test_blurring_spreads_a_view_over_its_neighbours_and_not_over_the_other_view() -> None:
    examples = training_set(8, 8)
    examples.data.images[:] = 0.0
    examples.data.images[:, 200, 250], examples.data.images[:, 200, 300] = 1.0, 0.5
    sharp, blurred = (
        np.concatenate([batch.images for batch in draw(examples, Recipe(steps=4, flip=False, blur=most))])
        for most in (0.0, 2.0)
    )
    changed = (blurred != sharp).any(axis=(1, 2, 3))
    assert 0 < changed.sum() < len(changed)
    assert (blurred[changed] > 0.0).sum() > 20 * changed.sum() * 3
    for view, column in ((blurred[changed, :, :256], 250), (blurred[changed, :, 256:], 44)):
        np.testing.assert_allclose(view[:, 200, column], 1.0)
        assert np.all(view[:, 200, column + 1] >= view[:, 201, column])
    assert not blurred[:, :, 256:270].any()


@pytest.mark.parametrize("recipe", [Recipe(steps=2, blur=2.0), Recipe(steps=2, field=1.7)])
def test_crops_are_neither_blurred_nor_in_a_wider_field(recipe: Recipe) -> None:
    usual, changed = (draw(training_set(8, 8), each, side=64) for each in (Recipe(steps=2), recipe))
    for one, other in zip(usual, changed, strict=True):
        np.testing.assert_array_equal(one.images, other.images)


def test_a_wider_field_squeezes_views_and_lesions_about_the_middle_and_cuts_no_uptake_off() -> None:
    examples = training_set(60, 60)
    examples.data.images[:] = 0.0
    examples.data.images[:, 20:460, 40:210] = examples.data.images[:, 20:460, 300:460] = 0.5
    usual, wide = (draw(examples, Recipe(steps=30, flip=False, field=most)) for most in (1.0, 1.7))
    images, changed = (np.concatenate([batch.images[..., 0] for batch in batches]) for batches in (usual, wide))
    lesions = np.concatenate([batch.targets["lesions"][..., 0] for batch in wide])
    is_changed = (images[:, :, 40:210] > 0).sum(axis=(1, 2)) != (changed[:, :, 40:210] > 0).sum(axis=(1, 2))
    assert 10 < is_changed.sum() < 60
    for image, places in zip(changed[is_changed], lesions[is_changed], strict=True):
        filled = np.flatnonzero(image[100] > 0)
        left, right = filled[filled < 256], filled[filled >= 256] - 256
        assert len(left) >= 170 / 1.75
        for columns, middle in ((left, -3), (right, -4)):
            assert abs(columns.mean() - 127.5 - middle * len(left) / 170) < 5
        rows = np.flatnonzero(image[:, 128] > 0)
        assert 440 <= len(rows) <= 440 * 1.26
        assert rows[-1] < 512
        assert image.max() == 1.0
        if places.any():
            row, column = np.argwhere(places)[0] * 16
            assert abs(row - 402 * len(rows) / 440) < 20
            assert abs(column - (128 + (82 - 128) * len(left) / 170)) < 20


def test_a_narrower_field_is_refused() -> None:
    with pytest.raises(UsageError, match="--field must be 1 to 4"):
        Recipe(field=0.9)


def test_a_crop_is_labelled_by_the_lesions_in_it() -> None:
    batches = draw(training_set(20, 20), Recipe(steps=10, batch_size=4), side=192)
    assert {batch.images.shape for batch in batches} == {(4, 192, 192, 3)}
    has_lesion = np.concatenate([batch.targets["lesions"].any(axis=(1, 2, 3)) for batch in batches])
    labels = np.concatenate([batch.targets["predictions"][:, 1] for batch in batches])
    np.testing.assert_array_equal(labels, has_lesion)
    assert 5 <= has_lesion.sum() <= 20


def test_a_positive_without_a_mask_has_no_weight_in_the_lesion_loss() -> None:
    examples = training_set(2, 2)
    unmarked = replace(examples, is_marked=np.array([False, True, True, True]))
    (batch,) = draw(unmarked, Recipe(steps=1, batch_size=4))
    rows = rows_in([batch])
    assert [float(weight) for weight in batch.sample_weights["lesions"].ravel()] == [float(row != 0) for row in rows]
    assert batch.sample_weights["predictions"].tolist() == [1.0] * 4


def test_without_masks_there_is_one_target() -> None:
    (batch,) = draw(training_set(2, 2, with_lesions=False), Recipe(steps=1, batch_size=4))
    assert set(batch.targets) == {"predictions"}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("criterion", "loss"),
    [
        (ThresholdCriterion.EQUAL_ERRORS, lambda sensitivity, specificity: abs(sensitivity - specificity)),
        (ThresholdCriterion.YOUDEN, lambda sensitivity, specificity: 1 - sensitivity - specificity),
    ],
)
def test_no_score_is_a_better_threshold_than_the_chosen_one(
    seed: int, criterion: ThresholdCriterion, loss: Callable[[float, float], float]
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(60) < 0.3
    scores = np.round(rng.random(60) * 0.8 + 0.2 * labels, 2).astype(np.float32)

    def loss_at(threshold: float) -> float:
        return loss(float((scores[labels] >= threshold).mean()), float((scores[~labels] < threshold).mean()))

    least = min(loss_at(float(score)) for score in scores)
    assert loss_at(threshold_of(criterion, labels, scores, np.full(60, "A"))) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_in_the_mean_over_centres_a_small_centre_weighs_as_much_as_a_large_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, centres = rng.random(90) < 0.4, np.repeat(["A", "B"], [70, 20])
    scores = np.round(rng.random(90) * 0.7 + 0.2 * labels + 0.1 * (centres == "B"), 2).astype(np.float32)

    def loss_at(threshold: float) -> float:
        right = labels == (scores >= threshold)
        means = [[right[(centres == at) & (labels == is_ill)].mean() for at in "AB"] for is_ill in (True, False)]
        return abs(float(np.mean(means[0]) - np.mean(means[1])))

    threshold = threshold_of(ThresholdCriterion.MACRO_EQUAL_ERRORS, labels, scores, centres)
    assert loss_at(threshold) == pytest.approx(min(loss_at(float(score)) for score in scores), abs=1e-9)
