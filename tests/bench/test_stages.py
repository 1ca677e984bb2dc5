"""What is measured is what a run does."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.archives import Scan, ct_slice, pixels_of, write, write_plain

from bsbatch.bench.measure import LATENCY, Turn
from bsbatch.bench.stages import (
    NullBackend,
    load_images,
    open_setup,
    time_inference,
    time_intake,
    time_run,
    time_run_without_sink,
    time_skim,
)
from bsbatch.config import Effort
from bsbatch.errors import UsageError
from bsbatch.imaging.preprocess import compose
from bsbatch.run.setup import RunSetup

SCANS, OTHERS = 5, 3
Stage = Callable[[RunSetup], AbstractContextManager[Callable[[], Turn]]]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSetup]:
    """An archive of bone scans and CT slices, and the fake backend."""
    archive = tmp_path_factory.mktemp("stages") / "archive"
    write_plain(archive, SCANS)
    for number in range(OTHERS):
        write(ct_slice(number), archive / f"ct{number}.dcm")
    with open_setup(archive, effort=Effort(threads=1, batch_size=2)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("stage", "items", "busy"),
    [
        (time_skim, SCANS + OTHERS, {"header"}),
        (time_intake, SCANS, {"header", "pixels", "preprocess", "infer"}),
        (time_run_without_sink, SCANS, {"header", "pixels", "preprocess", "infer"}),
        (time_run, SCANS, {"header", "pixels", "preprocess", "infer", "commit"}),
    ],
)
def test_every_turn_works_through_the_whole_archive(setup: RunSetup, stage: Stage, items: int, busy: set[str]) -> None:
    with stage(setup) as take:
        turns = [take(), take()]

    assert [turn.items for turn in turns] == [items, items]
    assert all(turn.seconds[LATENCY] > 0 and busy <= set(turn.busy) for turn in turns)


def test_every_measurement_of_runs_begins_with_empty_folders(setup: RunSetup) -> None:
    """One after the other in one output folder, as for several batch sizes."""
    for _ in range(2):
        with time_run(setup) as take:
            turn = take()
        assert turn.items == SCANS
        assert turn.cluster is None


def test_the_images_are_those_that_a_model_gets(setup: RunSetup) -> None:
    expected = [compose(*pixels_of(Scan(number)).astype(np.float32)) for number in range(SCANS)]

    np.testing.assert_array_equal(load_images(setup), np.stack(expected)[:, np.newaxis])
    assert len(load_images(setup, most=2)) == 2


def test_an_archive_without_a_bone_scan_is_refused(tmp_path: Path) -> None:
    write(ct_slice(1), tmp_path / "ct.dcm")

    with open_setup(tmp_path) as setup, pytest.raises(UsageError, match="no examination"):
        load_images(setup)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_bare_backend_gets_batches_of_the_size_asked_for(setup: RunSetup, size: int) -> None:
    sized = replace(setup, config=replace(setup.config, effort=Effort(batch_size=size)))

    with time_inference(sized, load_images(setup)) as take:
        assert [take().items for _ in range(4)] == [size] * 4


def test_a_run_without_its_sink_leaves_nothing(setup: RunSetup) -> None:
    before = sorted(Path(setup.config.archive).parent.rglob("*"))

    with time_run_without_sink(setup) as take:
        take()

    assert sorted(Path(setup.config.archive).parent.rglob("*")) == before


def test_the_null_backend_keeps_copies_of_the_first_images() -> None:
    images = np.random.default_rng(0).random((3, 1, 4, 4), np.float32)
    backend = NullBackend(keep=4)

    scores = [backend.infer(images), backend.infer(images)]
    kept = np.stack(backend.images)
    images[:] = 0

    assert kept.shape == (4, 1, 4, 4)
    assert kept.any(axis=(1, 2, 3)).all()
    assert {tuple(row) for score in scores for row in score.probabilities.tolist()} == {(0.5, 0.5)}
