"""What is measured is what a run does."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from tests.archives import Scan, ct_slice, pixels_of, write, write_plain

from bsbatch.bench.measure import LATENCY, Turn
from bsbatch.bench.stages import (
    NullBackend,
    Workload,
    images_of,
    inferring,
    running,
    running_without_sink,
    skimming,
    taking_in,
)
from bsbatch.config import BackendName, Effort
from bsbatch.errors import UsageError
from bsbatch.imaging.preprocess import compose

SCANS, OTHERS = 5, 3
Stage = Callable[[Workload], AbstractContextManager[Callable[[], Turn]]]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """An archive of bone scans and CT slices, and the fake backend."""
    archive = tmp_path_factory.mktemp("stages") / "archive"
    write_plain(archive, SCANS)
    for number in range(OTHERS):
        write(ct_slice(number), archive / f"ct{number}.dcm")
    return Workload(archive, backend=BackendName.FAKE, effort=Effort(threads=1, batch_size=2))


@pytest.mark.parametrize(
    ("stage", "items", "busy"),
    [
        (skimming, SCANS + OTHERS, {"header"}),
        (taking_in, SCANS, {"header", "pixels", "preprocess", "infer"}),
        (running_without_sink, SCANS, {"header", "pixels", "preprocess", "infer"}),
        (running, SCANS, {"header", "pixels", "preprocess", "infer", "commit"}),
    ],
)
def test_every_turn_works_through_the_whole_archive(work: Workload, stage: Stage, items: int, busy: set[str]) -> None:
    with stage(work) as take:
        turns = [take(), take()]

    assert [turn.items for turn in turns] == [items, items]
    assert all(turn.seconds[LATENCY] > 0 and busy <= set(turn.busy) for turn in turns)


def test_the_images_are_those_that_a_model_gets(work: Workload) -> None:
    expected = [compose(*pixels_of(Scan(number)).astype(np.float32)) for number in range(SCANS)]

    np.testing.assert_array_equal(images_of(work), np.stack(expected)[:, np.newaxis])
    assert len(images_of(work, most=2)) == 2


def test_an_archive_without_a_bone_scan_is_refused(tmp_path: Path) -> None:
    write(ct_slice(1), tmp_path / "ct.dcm")

    with pytest.raises(UsageError, match="no examination"):
        images_of(Workload(tmp_path))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_bare_backend_gets_batches_of_the_size_asked_for(work: Workload, size: int) -> None:
    asked = Workload(work.archive, backend=work.backend, effort=Effort(batch_size=size))

    with inferring(asked, images_of(work)) as take:
        assert [take().items for _ in range(4)] == [size] * 4


def test_a_run_without_its_sink_leaves_nothing(work: Workload) -> None:
    before = sorted(work.archive.parent.rglob("*"))

    with running_without_sink(work) as take:
        take()

    assert sorted(work.archive.parent.rglob("*")) == before


def test_the_null_backend_keeps_copies_of_the_first_images() -> None:
    images = np.random.default_rng(0).random((3, 1, 4, 4), np.float32)
    backend = NullBackend(keep=4)

    scores = [backend.infer(images), backend.infer(images)]
    kept = np.stack(backend.kept)
    images[:] = 0

    assert kept.shape == (4, 1, 4, 4)
    assert kept.any(axis=(1, 2, 3)).all()
    assert {tuple(row) for score in scores for row in score.probabilities.tolist()} == {(0.5, 0.5)}
