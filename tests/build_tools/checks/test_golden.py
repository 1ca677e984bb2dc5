"""Golden examinations are the images that a run would feed the model."""

from pathlib import Path

import numpy as np
import pytest

from bsbatch.errors import UsageError
from bsbatch.imaging.preprocess import compose
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan
from bsbatch_build.phantom.reading import read_set

SATURATED = 255


def test_they_are_the_examinations_of_the_archive_of_the_same_seed(tmp_path: Path) -> None:
    write_set(tmp_path / "set", SetPlan(6, 4, ("C",), clutter=False))
    golden = golden_examinations(6, 4)
    readings = list(read_set(tmp_path / "set"))
    assert [reading.positive for reading in readings] == golden.labels.tolist()
    for reading, image in zip(readings, golden.images, strict=True):
        views = reading.anterior.astype(np.float32), reading.posterior.astype(np.float32)
        if max(view.max() for view in views) == SATURATED:  # the archive has lost the hottest pixels
            assert np.corrcoef(image.ravel(), compose(*views).ravel())[0, 1] > 0.9
        else:
            np.testing.assert_array_equal(image[0], compose(*views))
    assert sum(reading.anterior.max() != SATURATED for reading in readings) >= 3


def test_both_classes_are_there_and_images_fill_their_range() -> None:
    golden = golden_examinations(4, 0)
    assert 0 < golden.labels.sum() < 4
    assert golden.images.shape == (4, 1, 512, 512)
    assert golden.images.dtype == np.float32
    assert golden.images.min() == 0
    assert golden.images.max() == 1


def test_another_seed_gives_other_images() -> None:
    assert not np.array_equal(golden_examinations(4, 0).images, golden_examinations(4, 1).images)


def test_every_examination_calls_back() -> None:
    made: list[int] = []
    golden_examinations(4, 0, lambda: made.append(len(made)))
    assert made == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("number", "seed", "message"),
    [(1, 0, "of one class"), (0, 0, "studies must be 1"), (4, -1, "seed must not be negative")],
)
def test_numbers_that_give_no_comparison_are_refused(number: int, seed: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        golden_examinations(number, seed)
