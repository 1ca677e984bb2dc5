import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.config import CamMode
from bsbatch.gradcam import Explainer, heat_map

NAN, INFINITY = float("nan"), float("inf")


def cam(*values: float) -> NDArray[np.float32]:
    """A map whose first cells are given, the rest 0."""
    cells = np.zeros((32, 32), np.float32)
    cells.flat[: len(values)] = values
    return cells


def test_a_positive_examination_shows_where_metastasis_is_found() -> None:
    heat = heat_map(cam(-8, 4, 2), is_positive=True)

    np.testing.assert_array_equal(heat.cells, cam(0, 1, 0.5))
    assert heat.strength == 4.0
    assert heat.cells.dtype == np.float32


def test_a_negative_examination_shows_where_its_absence_is_found() -> None:
    heat = heat_map(cam(-8, 4, -2), is_positive=False)

    np.testing.assert_array_equal(heat.cells, cam(1, 0, 0.25))
    assert heat.strength == 8.0


@pytest.mark.parametrize("values", [(0.0,), (-3.0, -1.0), (NAN,)])
def test_a_map_without_anything_that_speaks_for_the_class_is_empty(values: tuple[float, ...]) -> None:
    heat = heat_map(cam(*values), is_positive=True)

    assert not heat.cells.any()
    assert heat.strength == 0.0


def test_what_is_no_number_counts_as_nothing() -> None:
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
def test_who_gets_a_map_is_what_was_asked_for(mode: CamMode, p: float, *, has_map: bool) -> None:
    explainer = Explainer(mode, threshold=0.3)

    assert (explainer.explain(p, cam(1, -1)) is not None) == has_map
    assert explainer.explain(p, None) is None


def test_the_threshold_of_the_run_decides_which_class_is_shown() -> None:
    """Between it and one half, the likelier class is not the one that was predicted."""
    heat = Explainer(CamMode.ALL, threshold=0.3).explain(0.4, cam(2, -1))

    assert heat is not None
    np.testing.assert_array_equal(heat.cells, cam(1, 0))
