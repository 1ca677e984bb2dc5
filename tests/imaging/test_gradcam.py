import numpy as np
import pytest
from numpy.typing import NDArray
from tests.dicom.objects import header, scan

from bsbatch.config import CamMode
from bsbatch.dicom.pairing import examine
from bsbatch.imaging.gradcam import Explainer, heat_map, locate
from bsbatch.records import Body, HeatMap, MapLocation, Peak, PreparedExam, Quality, Silhouette

VIEW = Silhouette(top=3.0, bottom=28.0, midline=7.5, half_width=7.5)


def body() -> Body:
    """Rows 3 to 28 of columns 0 to 15 of each view; a fifth of column 0 and nothing of column 15 is body."""
    cells = np.zeros((32, 32), np.float32)
    for first in (0, 16):
        cells[3:28, first : first + 15] = 1
        cells[:, first] *= np.float32(0.2)
    return Body(cells, VIEW, VIEW)


BODY = body()
EXAM = examine((scan("AP", "both")._replace(header=header(rows=1024, columns=256)),))
SAMPLE = PreparedExam(EXAM, np.zeros((512, 512), np.float32), Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "0" * 64), BODY)
NAN, INFINITY = float("nan"), float("inf")


def cam(*values: float) -> NDArray[np.float32]:
    """Cells of a backend: the first ones as given, the rest 0."""
    cells = np.zeros((32, 32), np.float32)
    cells.flat[: len(values)] = values
    return cells


def test_a_positive_examination_shows_the_evidence_of_metastasis() -> None:
    heat = heat_map(cam(-8, 4, 2), is_positive=True)

    np.testing.assert_array_equal(heat.cells, cam(0, 1, 0.5))
    assert heat.strength == 4.0
    assert heat.cells.dtype == np.float32


def test_weak_evidence_is_scaled_like_strong() -> None:
    heat = heat_map(cam(0.5, 0.25), is_positive=True)

    np.testing.assert_array_equal(heat.cells, cam(1, 0.5))
    assert heat.strength == 0.5


def test_a_negative_examination_shows_the_evidence_of_its_absence() -> None:
    heat = heat_map(cam(-8, 4, -2), is_positive=False)

    np.testing.assert_array_equal(heat.cells, cam(1, 0, 0.25))
    assert heat.strength == 8.0


@pytest.mark.parametrize("values", [(0.0,), (-3.0, -1.0), (NAN,)])
def test_a_heat_map_without_evidence_for_the_class_is_empty(values: tuple[float, ...]) -> None:
    heat = heat_map(cam(*values), is_positive=True)

    assert not heat.cells.any()
    assert heat.strength == 0.0


def test_nan_and_infinite_cells_become_zero() -> None:
    np.testing.assert_array_equal(heat_map(cam(NAN, 2, INFINITY, -INFINITY), is_positive=True).cells, cam(0, 1))


@pytest.mark.parametrize(
    ("mode", "p", "has_map"),
    [
        (CamMode.NONE, 0.9, False),
        (CamMode.POSITIVE, 0.9, True),
        (CamMode.POSITIVE, 0.3, True),
        (CamMode.POSITIVE, 0.29, False),
        (CamMode.ALL, 0.9, True),
        (CamMode.ALL, 0.0, True),
    ],
)
def test_mode_and_threshold_select_the_examinations_with_a_heat_map(mode: CamMode, p: float, *, has_map: bool) -> None:
    assert Explainer(mode, threshold=0.3).wants(p) == has_map


def test_the_threshold_of_the_run_selects_the_class_that_is_shown() -> None:
    """Between the threshold and one half, the predicted class is not the one with the larger score."""
    explanation = Explainer(CamMode.ALL, threshold=0.3).explain(0.4, cam(2, -1), SAMPLE)

    assert explanation is not None
    np.testing.assert_array_equal(explanation.heat.cells, cam(1, 0))


def test_without_the_body_there_is_no_explanation() -> None:
    assert Explainer(CamMode.ALL, threshold=0.3).explain(0.4, cam(2, -1), SAMPLE._replace(body=None)) is None


def at(*spots: tuple[int, int, float]) -> MapLocation:
    """Location of a heat map that is 0 except in some cells: row, column, value."""
    cells = np.zeros((32, 32), np.float32)
    for row, column, value in spots:
        cells[row, column] = value
    return locate(HeatMap(cells, 1.0), BODY, EXAM.anterior, EXAM.posterior)


def test_a_peak_has_pixel_coordinates_of_its_view() -> None:
    where = at((3, 2, 0.5), (3, 4, 0.25), (10, 31, 1.0))

    assert where.peak_anterior == Peak(row=3.5 * 32 - 0.5, column=2.5 * 16 - 0.5, value=0.5)
    assert where.peak_posterior == Peak(row=10.5 * 32 - 0.5, column=15.5 * 16 - 0.5, value=1.0)


def test_a_view_without_evidence_has_no_peak() -> None:
    where = at((10, 20, 1.0))

    assert where.peak_anterior is None
    assert where.peak_posterior is not None
    assert where.anterior == 0.0


def test_the_shares_of_the_views_add_up() -> None:
    assert at((5, 8, 0.75), (5, 24, 0.25)).anterior == 0.75


def test_left_is_the_patients_left_in_both_views() -> None:
    """On the right of the anterior view, on the left of the posterior one; the midline halves a cell."""
    assert at((5, 15, 1.0)).left == 1.0
    assert at((5, 0, 1.0)).left == 0.0
    assert at((5, 16, 1.0)).left == 1.0
    assert at((5, 31, 1.0)).left == 0.0
    assert at((5, 7, 1.0)).left == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("spot", "shares", "warning"),
    [
        ((8, 7), {"body": 1.0, "pelvis": 0.0, "periphery": 0.0}, ()),
        ((14, 7), {"body": 1.0, "pelvis": 1.0, "periphery": 0.0}, ("bladder",)),
        ((14, 23), {"body": 1.0, "pelvis": 1.0, "periphery": 0.0}, ("bladder",)),
        ((13, 3), {"body": 1.0, "pelvis": 1.0, "periphery": 0.0}, ()),
        ((15, 0), {"body": 0.8, "pelvis": 1.0, "periphery": 1.0}, ("periphery",)),
        ((20, 15), {"body": 0.0, "pelvis": 0.0, "periphery": 1.0}, ("outside_body", "periphery")),
        ((0, 7), {"body": 0.0, "pelvis": 0.0, "periphery": 0.0}, ("outside_body",)),
    ],
)
def test_evidence_outside_bone_raises_a_warning(
    spot: tuple[int, int], shares: dict[str, float], warning: tuple[str, ...]
) -> None:
    where = at((*spot, 1.0))

    assert {name: getattr(where, name) for name in shares} == pytest.approx(shares)
    assert where.warnings == warning


def test_a_region_includes_a_part_of_the_cell_in_which_it_ends() -> None:
    """The pelvis begins at 36 % of 25 rows from row 3 on: row 12, and ends at row 16."""
    assert at((11, 4, 1.0), (16, 4, 1.0)).pelvis == pytest.approx(0.0)
    assert at((11, 4, 0.5), (12, 4, 1.0), (15, 4, 0.5)).pelvis == pytest.approx(0.75)


def test_half_of_a_heat_map_raises_no_warning() -> None:
    assert at((14, 7, 1.0), (8, 7, 1.0)).warnings == ()


def test_an_empty_heat_map_has_no_shares_and_a_warning() -> None:
    where = at()

    assert (where.body, where.pelvis, where.left, where.anterior, where.peak_anterior) == (None,) * 5
    assert where.warnings == ("no_evidence",)
