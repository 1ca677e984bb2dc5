"""Whatever one object or examination raises becomes its row; a bug stays visible and ends no run."""

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.archives import Scan, dataset_of, write, write_plain
from tests.end_to_end.tables import bsbatch, by_source, objects, results

from bsbatch.config import Selection
from bsbatch.dicom.labels import label_of
from bsbatch.errors import BackendError, MachineError, RunError, WorkerLostError, WorkerTimeoutError
from bsbatch.host.threads import FreeList
from bsbatch.host.workers import Isolation
from bsbatch.pipeline import intake, preparation, reading
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.pipeline.verdicts import verdict_of
from bsbatch.reasons import Reason, Stage
from bsbatch.records import Examination, Failure, PinnedImage
from bsbatch.sources import directory
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry
from bsbatch.view_pixels import ViewPixels

NAME = "Secret^Patience"


class BugError(Exception):
    """An error that no code expects; its message quotes a value."""


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_arguments: object, **_options: object) -> Any:
        raise error

    return call


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    write_plain(folder, 3)
    return folder


def exams_in(archive: Path) -> list[Examination]:
    source = DirectorySource(archive)
    units = Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=1).units(8, None)
    return [exam for unit in units for exam in unit.exams]


def prepare_all(archive: Path, pool: Any = None) -> list[object]:
    prepare = Preparation(DirectorySource(archive), Telemetry(), Isolation(), image_pool=pool).prepare
    return [item for exam in exams_in(archive) for item in prepare([exam])]


def run(archive: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return bsbatch("run", archive, "--backend", "fake", "--threads", "1", "--out", out, *options)


@pytest.mark.parametrize(
    ("module", "name", "stage"),
    [(preparation, "assess", "preprocess"), (preparation, "compose", "preprocess"), (reading, "read_frames", "pixels")],
)
def test_a_bug_in_one_examination_is_its_row_with_type_and_place_but_without_values(
    module: Any, name: str, stage: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, calls = getattr(module, name), list[int]()

    def fail_once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise BugError(NAME)
        return sound(*arguments)

    monkeypatch.setattr(module, name, fail_once)

    found = prepare_all(archive)

    (failure,) = (item for item in found if isinstance(item, Failure))
    assert (failure.verdict.stage, failure.verdict.reason) == (stage, Reason.INTERNAL_ERROR)
    assert "BugError at pipeline." in failure.verdict.message
    assert NAME not in failure.verdict.message


def test_a_run_with_a_bug_ends_with_its_number_and_the_next_run_tries_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "assess", raising(BugError(NAME)))
        broken = run(archive, out, "--quiet")
    assert broken.returncode == 3
    assert "Internal errors: 3 files" in broken.stderr
    assert "report" in broken.stderr
    assert NAME not in broken.stdout + broken.stderr
    assert {(row["status"], row["reason"]) for row in results(out)} == {("failed", "internal_error")}

    mended = run(archive, out)

    assert mended.returncode == 0
    assert "Internal errors" not in mended.stderr
    assert {row["status"] for row in results(out)} == {"ok"}


def test_a_bug_in_reading_a_header_is_a_row_of_objects(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_once(header: Any) -> Any:
        monkeypatch.setattr(intake, "label_of", label_of)
        raise BugError(NAME)

    monkeypatch.setattr(intake, "label_of", fail_once)

    done = run(archive, tmp_path / "out")

    assert "Internal errors: 1 file " in done.stderr
    rows = [row for row in objects(tmp_path / "out") if row["status"] == "failed"]
    assert [(row["stage"], row["reason"]) for row in rows] == [("header", "internal_error")]
    assert len(results(tmp_path / "out")) == 2


def test_a_bug_in_pairing_fails_the_objects_of_one_study_together(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, view in enumerate("AP"):
        write(dataset_of(Scan(9, view, number)), archive / view)
    monkeypatch.setattr(intake, "decide", raising(BugError(NAME)))

    done = run(archive, tmp_path / "out", "--max-error-rate", "0.5")

    assert done.returncode == 0, done.stderr
    rows = by_source(tmp_path / "out")
    assert rows["A"]["reason"] == rows["P"]["reason"] == "internal_error"
    assert rows["A"]["exam_id"] == rows["P"]["exam_id"] is not None
    assert len(results(tmp_path / "out")) == 4


@pytest.mark.parametrize("error", [BackendError("gone"), KeyboardInterrupt()])
def test_errors_of_the_run_and_interruptions_are_no_rows(
    error: BaseException, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "assess", raising(error))
    with pytest.raises(type(error)):
        prepare_all(archive)


def test_memory_that_runs_out_stops_the_run_and_blames_no_object(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "assess", raising(MemoryError()))
    with pytest.raises(MachineError, match="memory"):
        prepare_all(archive)
    assert issubclass(MachineError, RunError)
    assert run(archive, tmp_path / "out", "--quiet").returncode == 4


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_without_a_file_to_open_stops_the_run_and_blames_no_object(
    number: int, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "heads_of", lambda paths, _: [OSError(number, "limit") for _path in paths])
    monkeypatch.setattr(directory, "_RETRY_DELAYS", (0.0, 0.0))

    done = run(archive, tmp_path / "out", "--quiet")

    assert done.returncode == 4
    assert "the same command goes on" in done.stderr
    assert not list(tmp_path.glob("out/*/part-*"))


def test_a_machine_without_a_thread_stops_the_run(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "assess", raising(RuntimeError("can't start new thread")))
    assert run(archive, tmp_path / "out", "--quiet").returncode == 4
    monkeypatch.setattr("bsbatch.run.screen.open_catalog", raising(RuntimeError("can't start new thread")))
    done = run(archive, tmp_path / "out", "--quiet")
    assert (done.returncode, "ulimit -u" in done.stderr) == (4, True)


def test_lent_memory_comes_back_after_a_bug(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(dataset_of(Scan(7, rows=1024)), archive / "common")
    assessing = (preparation, "assess"), (preparation, "assess_loaded")
    for broken in (assessing, [(preparation, "compact")], [(Preparation, "_assemble")]):
        pool: FreeList[PinnedImage] = FreeList()
        pool.give_back(PinnedImage(np.zeros((512, 512), np.uint16), np.zeros((2, 2), np.float32)))
        with monkeypatch.context() as patch:
            for owner, name in broken:
                patch.setattr(owner, name, raising(BugError()))

            found = prepare_all(archive, pool)  # which would wait for ever

        assert len(found) == 4
        is_compact = (preparation, "compact") in broken
        assert [isinstance(item, Failure) for item in found] == [True, True, True, not is_compact]


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("1E39", "0"), ("1", "1E308"), ("-1E300", "1E308"), ("1E14", "0"), ("1E308", "-1E308"), ("1E-42", "0")],
)
def test_counts_beyond_all_numbers_are_a_failed_row(slope: str, intercept: str, archive: Path, tmp_path: Path) -> None:
    dataset = dataset_of(Scan(9))
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    write(dataset, archive / "odd")

    done = run(archive, tmp_path / "out")

    assert done.returncode == 3, done.stderr
    assert "Internal errors" not in done.stderr
    row = by_source(tmp_path / "out")["odd"]
    assert (row["status"], row["stage"], row["reason"]) == ("failed", "pixels", "counts_not_finite")
    assert sorted(row["status"] for row in results(tmp_path / "out")) == ["failed", "ok", "ok", "ok"]


@pytest.mark.parametrize(("slope", "is_finite"), [(0.5, True), (1e10, True), (1e14, False), (float("nan"), False)])
def test_finite_counts_are_known_without_computing_them(slope: float, is_finite: bool) -> None:
    assert ViewPixels(np.array([[0, 255]], np.uint16), slope, -3.5).is_finite is is_finite


def test_a_bug_in_a_worker_process_names_its_line_there() -> None:
    with Isolation() as isolation:
        try:
            isolation.call(np.linalg.inv, np.zeros((1, 1)))
        except Exception as error:
            verdict = verdict_of(Stage.PIXELS, error)
    assert verdict.reason is Reason.INTERNAL_ERROR
    assert "numpy.linalg.LinAlgError at host.workers:" in verdict.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [(WorkerTimeoutError("late"), Reason.DECODE_TIMEOUT), (WorkerLostError("dead"), Reason.DECODE_FAILED)],
)
def test_a_decoder_that_hangs_or_crashes_has_a_reason_of_its_own(error: WorkerLostError, reason: Reason) -> None:
    assert verdict_of(Stage.PIXELS, error).reason is reason
