"""Comparison of heat maps with masks; the overlap is validated against scikit-learn's Jaccard and F1."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score
from tests.evaluation.made import CONFIG, write_labels
from tests.evaluation.made import Exam as Scored
from tests.evaluation.test_segmentation import Frame, save
from typer.testing import CliRunner

from bsbatch.cli import app
from bsbatch.errors import UsageError
from bsbatch.evaluation.evaluate import evaluate
from bsbatch.evaluation.localisation import LEVELS, Localisation, compare
from bsbatch.evaluation.masks import VIEWS, Lesions
from bsbatch.evaluation.settings import EvaluationConfig, Resampling
from bsbatch.store.parts import write_part
from bsbatch.store.tables import RESULTS, to_table

Map = NDArray[np.float32]


def peak(row: int, column: int) -> Map:
    cells = np.zeros((32, 32), np.float32)
    cells[row, column] = 1
    return cells


def block(rows: slice, columns: slice) -> Lesions:
    inside = np.zeros((512, 512), bool)
    inside[rows, columns] = True
    return Lesions(inside, 1, float(inside.sum()))


def cell(row: int, column: int) -> Lesions:
    return block(slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))


@pytest.mark.parametrize(
    ("lesion", "is_hit"),
    [
        (cell(10, 5), True),
        (block(slice(168 + 15, 200), slice(88, 89)), True),
        (block(slice(168 + 16, 200), slice(88, 89)), False),
        (block(slice(168, 169), slice(88 - 15, 88 - 14)), True),
        (block(slice(168 + 12, 200), slice(88 + 12, 100)), False),
        (cell(10, 5 + 16), False),
    ],
)
def test_the_peak_hits_a_lesion_within_15_pixels_in_its_view(lesion: Lesions, *, is_hit: bool) -> None:
    """The middle of cell (10, 5) is pixel (168, 88)."""
    assert compare(peak(10, 5), lesion)["pointing_game"] == float(is_hit)


def test_a_lesion_across_the_border_of_the_views_is_not_near() -> None:
    assert compare(peak(10, 15), block(slice(160, 176), slice(256, 264)))["pointing_game"] == 0.0


def test_a_map_that_is_the_same_everywhere_has_the_energy_of_the_masks_share() -> None:
    metrics = compare(np.ones((32, 32), np.float32), block(slice(0, 128), slice(0, 256)))

    assert metrics["mask_share"] == 128 * 256 / 512**2
    assert metrics["energy_inside"] == pytest.approx(metrics["mask_share"])


def test_all_of_a_maps_energy_can_lie_inside() -> None:
    assert compare(peak(10, 5), block(slice(128, 224), slice(48, 144)))["energy_inside"] == 1.0
    assert compare(peak(10, 5), cell(20, 25))["energy_inside"] == 0.0


def test_an_empty_map_finds_nothing() -> None:
    metrics = compare(np.zeros((32, 32), np.float32), cell(0, 0))

    assert {value for name, value in metrics.items() if name != "mask_share"} == {0.0}


def test_overlap_equals_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    cells = cv2.GaussianBlur(random.random((32, 32)).astype(np.float32), (5, 5), 0)
    cells = (cells - cells.min()) / np.ptp(cells)
    lesion = block(slice(100, 300), slice(50, 400))
    heat = np.hstack([cv2.resize(np.ascontiguousarray(half), (256, 512)) for half in np.hsplit(cells, 2)])

    metrics = compare(cells, lesion)

    for level in LEVELS:
        truth, marked = lesion.inside.ravel(), (heat >= level).ravel()
        assert metrics[f"iou_{level}"] == pytest.approx(jaccard_score(truth, marked))
        assert metrics[f"dice_{level}"] == pytest.approx(f1_score(truth, marked))


@pytest.fixture
def made(tmp_path: Path) -> EvaluationConfig:
    """Ten positives, the first eight predicted so, the first six at a lesion; and five negatives."""
    rows, labels = [], []
    (tmp_path / "masks").mkdir()
    for number in range(15):
        is_positive, is_predicted = number < 10, number < 8
        score = 0.9 if is_predicted else 0.1
        exam = Scored(f"1.{number}", score)
        rows.append(row_of(number, exam) | {"cam_map": peak(10, 5 if number < 6 else 25).ravel(), "cam_strength": 1.0})
        labels.append({"study_uid": f"1.{number}", "label": int(is_positive), "lesions": int(is_positive)})
        if is_positive and number != 1:
            write_masks(tmp_path / "masks", number)
    (tmp_path / "out" / RESULTS).mkdir(parents=True)
    write_part(tmp_path / "out" / RESULTS, 0, to_table(RESULTS, rows, CONFIG, has_maps=True))
    path = write_labels(tmp_path / "labels.csv", labels)
    return EvaluationConfig(
        tmp_path / "out", path, tmp_path / "report", resampling=Resampling(200), masks=tmp_path / "masks"
    )


def row_of(number: int, exam: Scored) -> dict[str, object]:
    score = exam.score or 0.0
    return {
        "exam_id": f"{number:032x}",
        "study_uid": exam.study,
        "status": "ok",
        "p_metastasis": score,
        "predicted": int(score >= 0.5),
        "threshold": 0.5,
        "model_id": "feed",
        "config_hash": CONFIG,
        **{f"sop_uid_{view}": f"{exam.study}.9" for view in VIEWS},
        **{f"frame_{view}": frame for frame, view in enumerate(VIEWS, start=1)},
    }


def write_masks(folder: Path, number: int) -> None:
    """One lesion in the anterior view, two for an odd number; none for number 2."""
    anterior = np.zeros((1024, 256), np.uint8)
    if number != 2:
        anterior[320:336, 80:96] = 1
    if number % 2:
        anterior[900:1000, 200:250] = 2
    assert cv2.imwrite(str(folder / f"1.{number}_anterior.png"), anterior)
    assert cv2.imwrite(str(folder / f"1.{number}_posterior.png"), np.zeros((1024, 256), np.uint8))


def localisation_of(config: EvaluationConfig) -> Localisation:
    localisation = evaluate(config).localisation
    assert localisation is not None
    return localisation


def test_true_positives_with_masks_are_compared_and_the_others_counted(made: EvaluationConfig) -> None:
    localisation = localisation_of(made)

    whole = localisation.groups[0]
    assert (whole.kind, whole.n) == ("all", 6)
    assert (
        localisation.missed,
        localisation.without_map,
        localisation.without_mask,
        localisation.without_lesion,
    ) == (2, 0, 1, 1)
    hits = whole.metrics["pointing_game"]
    assert hits.value == pytest.approx(4 / 6)
    assert 0.0 <= hits.low < hits.value < hits.high <= 1.0


def test_segmentations_are_found_by_the_frames_of_the_results(made: EvaluationConfig, tmp_path: Path) -> None:
    """Examination 0 has its lesion as DICOM in place of PNG, and everything else stays."""
    before = localisation_of(made)
    masks = tmp_path / "masks"
    anterior = cv2.imread(str(masks / "1.0_anterior.png"), cv2.IMREAD_GRAYSCALE)
    for path in masks.glob("1.0_*.png"):
        path.unlink()
    assert localisation_of(made).without_mask == before.without_mask + 1

    save(masks / "1.0.dcm", [Frame(np.asarray(anterior, np.uint8), 1, "1.0.9", 1)])

    assert localisation_of(made) == before


def test_groups_are_by_number_and_size_of_the_lesions_in_the_masks(made: EvaluationConfig) -> None:
    groups = {(group.kind, group.name): group.n for group in localisation_of(made).groups}

    assert groups == {
        ("all", "true positives"): 6,
        ("lesions", "1"): 3,
        ("lesions", "2 to 5"): 3,
        ("size", "1/4 to 1 cell"): 3,
        ("size", "over 1 cell"): 3,
    }


def test_the_same_seed_gives_the_same_intervals(made: EvaluationConfig) -> None:
    assert localisation_of(made) == localisation_of(made)


def test_without_masks_there_is_no_localisation(made: EvaluationConfig) -> None:
    plain = EvaluationConfig(made.results, made.labels, made.out, resampling=Resampling(5))

    assert evaluate(plain).localisation is None


def test_a_run_without_maps_is_refused(made: EvaluationConfig, tmp_path: Path) -> None:
    rows = [row_of(number, Scored(f"1.{number}", 0.9)) for number in range(15)]
    (tmp_path / "plain" / RESULTS).mkdir(parents=True)
    write_part(tmp_path / "plain" / RESULTS, 0, to_table(RESULTS, rows, CONFIG))

    with pytest.raises(UsageError, match="holds no heat maps: run with --cam positive"):
        evaluate(EvaluationConfig(tmp_path / "plain", made.labels, made.out, masks=made.masks))


def test_masks_of_other_studies_are_refused_with_the_counts_of_exclusions(
    made: EvaluationConfig, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match=r"missed: 2, without_map: 0, without_mask: 8.*check --masks"):
        evaluate(EvaluationConfig(made.results, made.labels, made.out, masks=tmp_path / "empty"))
    with pytest.raises(UsageError, match="is no folder"):
        EvaluationConfig(made.results, made.labels, made.out, masks=tmp_path / "nowhere")


def test_the_command_writes_and_prints_it(made: EvaluationConfig) -> None:
    options = ["--masks", made.masks, "--resamples", 50]
    arguments = ["evaluate", made.results, "--labels", made.labels, "--out", made.out, *options]

    done = CliRunner().invoke(app, list(map(str, arguments)))

    assert done.exit_code == 0, done.output
    content = json.loads((made.out / "metrics.json").read_text(encoding="utf-8"))["localisation"]
    assert content["not_compared"] == {"missed": 2, "without_map": 0, "without_mask": 1, "without_lesion": 1}
    assert content["groups"]["all"]["true positives"]["metrics"]["pointing_game"]["value"] == pytest.approx(
        4 / 6, abs=1e-6
    )
    assert set(content["groups"]) == {"all", "lesions", "size"}
    text = " ".join(done.output.split())
    assert "pointing game" in text
    assert "2 positives were missed" in text
    assert "2 true positives have no heat map, no mask or no lesion" in text
