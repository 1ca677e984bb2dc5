"""Counts that a reporter shows, and those of the tables."""

import signal
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.archives import Scan, dataset_of, pixels_of, write, write_plain
from tests.dicom.objects import scan
from tests.end_to_end.tables import objects, results

from bsbatch.config import BackendName, Effort, RunConfig
from bsbatch.dicom.pairing import examine
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Failure
from bsbatch.run.forecast import Rate
from bsbatch.run.progress import Progress
from bsbatch.run.report import Ending, SilentReporter
from bsbatch.run.screen import screen


class Counter(SilentReporter):
    """Counts as a progress bar does; interrupts the run at its first scores."""

    def __init__(self, *, is_patient: bool = False) -> None:
        self.objects = self.examinations = 0
        self.is_patient = is_patient
        self.remarks: list[str] = []

    def advance(self, objects: int, ok: int, failed: int) -> None:
        self.objects += objects
        self.examinations += ok + failed
        if self.examinations and not self.remarks and not self.is_patient:
            self.remark("interrupted here")
            signal.raise_signal(signal.SIGINT)

    def remark(self, message: str) -> None:
        self.remarks.append(message)


@pytest.mark.parametrize(("unit", "batch"), [(1, 1), (3, 2), (3, 4), (4, 3)])
def test_after_an_interruption_the_counter_is_that_of_the_tables(unit: int, batch: int, tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 20)
    (tmp_path / "archive/000/note.txt").write_text("no DICOM", encoding="utf-8")
    effort, reporter = Effort(threads=1, unit_size=unit, batch_size=batch), Counter()
    config = RunConfig(tmp_path / "archive", tmp_path / "out", backend=BackendName.FAKE, effort=effort)

    report = screen(config, reporter)

    assert report.ending is Ending.INTERRUPTED
    assert 0 < reporter.examinations == len(results(tmp_path / "out")) == report.scored < 20
    assert reporter.objects == len(objects(tmp_path / "out"))


def test_what_is_scored_beyond_the_last_complete_unit_is_taken_back_and_named() -> None:
    reporter = Counter(is_patient=True)
    progress, exam = Progress(reporter, None), examine((scan("AP", "both"),))
    progress.add([Failure(exam, Verdict.of(Stage.PIXELS, Reason.READ_ERROR))])
    assert (reporter.objects, reporter.examinations) == (1, 1)

    progress.take_back()

    assert (reporter.objects, reporter.examinations) == (0, 0)
    assert "beyond the last complete unit, so not kept: 1." in reporter.remarks[0]


def test_what_is_decided_anew_counts_once(tmp_path: Path) -> None:
    archive, counter = tmp_path / "archive", Counter(is_patient=True)
    config = RunConfig(archive, tmp_path / "out", backend=BackendName.FAKE, effort=Effort(threads=1, unit_size=1))
    first = Scan(1, "AP", 1)
    write(dataset_of(first), archive / "a")
    write(dataset_of(Scan(2, "AP", 1)), archive / "b")
    write(dataset_of(replace(first, instance=1), pixels_of(first) + np.uint16(1)), archive / "c")

    report = screen(config, counter)

    assert counter.objects == len(objects(tmp_path / "out")) == 3
    assert counter.examinations == len(results(tmp_path / "out"))
    assert report.scored == 2
    assert counter.remarks[-1].endswith("decided anew: 1.")


def test_the_longest_time_is_shown_once_when_the_files_are_counted() -> None:
    reporter, files = Counter(), Future[int]()
    progress = Progress(reporter, Rate("mnn", 2.0, "2026-11-30"))

    progress.start(files, 20)
    progress.add([])
    assert reporter.remarks == []
    files.set_result(260)
    progress.add([])
    progress.add([])

    (remark,) = reporter.remarks
    assert remark.startswith("240 files to do: at most 2 min (mnn, 2.00 scans/s), if each were an examination")


def test_a_limit_bounds_the_longest_time() -> None:
    reporter, files = Counter(), Future[int]()
    progress = Progress(reporter, Rate("mnn", 2.0, "2026-11-30"), 20)

    progress.start(files, 0)
    files.set_result(100_000)
    progress.add([])

    assert "100000 files to do: at most 10 s" in reporter.remarks[0]


def test_files_that_cannot_be_counted_have_no_forecast() -> None:
    reporter, files = Counter(), Future[int]()
    progress = Progress(reporter, Rate("mnn", 2.0, "2026-11-30"))

    progress.start(files, 0)
    files.set_exception(OSError("the mount is gone"))
    progress.add([])

    assert reporter.remarks == []
