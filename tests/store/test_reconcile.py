"""The counts of a run are those of its rows, and rows that do not belong together are errors."""

from pathlib import Path

import pytest
from tests.dicom.objects import ref, scan

from bsbatch.dicom.pairing import examine
from bsbatch.errors import OutputError
from bsbatch.imaging.quality import Flag
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Failure, Outcome, Prediction, Quality, SettledObject, UnitOutcome
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.reconcile import add_up, reconcile
from bsbatch.store.tables import OBJECTS, RESULTS, Provenance

QUALITY = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "00")
PAIR = Prediction(examine((scan("A", "a"), scan("P", "p"))), QUALITY, 0.9)
OTHERS = (
    Prediction(
        examine((scan("AP", "b", study_uid="1.8"),)), QUALITY._replace(flags=(Flag.LOSSY, Flag.UNLIKE_TRAINING)), 0.6
    ),
    Prediction(examine((scan("AP", "c", study_uid="1.9"),)), QUALITY, 0.5),
    Failure(examine((scan("A", "d", study_uid="1.7"),)), Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY), None),
)
SETTLED = tuple(
    SettledObject(ref(name), None, Verdict.of(Stage.HEADER, reason))
    for name, reason in (("x", Reason.NOT_DICOM), ("y", Reason.NOT_DICOM), ("z", Reason.INTERNAL_ERROR))
)


def commit(out: Path, *outcomes: Outcome, settled: tuple[SettledObject, ...] = ()) -> None:
    writer = ParquetSink(out, Provenance("hash", "model", 0.5))
    writer.commit(UnitOutcome(outcomes, settled))
    writer.finish()


def test_every_row_is_counted_once_by_status_and_reason(tmp_path: Path) -> None:
    commit(tmp_path, PAIR, *OTHERS, settled=SETTLED)

    flow = add_up(tmp_path)

    assert flow.as_dict() == {
        "seen": 8,
        "pending": 0,
        "gone": 0,
        "objects": {"used": 4, "failed": 2, "skipped": 2},
        "object_reasons": {"internal_error": 1, "not_dicom": 2, "single_view_only": 1},
        "examinations": {"ok": 3, "failed": 1},
        "examination_reasons": {"single_view_only": 1},
        "positive": 3,
        "unlike_training": 1,
        "error_rate": 0.25,
        "file_error_rate": 0.25,
    }
    assert flow.internal_errors == 1
    assert flow.unlike_share == pytest.approx(1 / 3)
    assert reconcile(tmp_path, 8, is_complete=True) == flow


def test_objects_without_a_row_are_pending_and_rows_without_an_object_are_gone(tmp_path: Path) -> None:
    commit(tmp_path, PAIR, *OTHERS, settled=SETTLED)
    interrupted, complete = reconcile(tmp_path, 10, is_complete=False), reconcile(tmp_path, 5, is_complete=True)
    assert (interrupted.seen, interrupted.pending, interrupted.gone) == (10, 2, 0)
    assert (complete.seen, complete.pending, complete.gone) == (5, 0, 3)
    assert reconcile(tmp_path, 5, is_complete=False).pending == 0


def test_a_run_without_examinations_has_no_errors(tmp_path: Path) -> None:
    commit(tmp_path, settled=SETTLED[:1])
    assert reconcile(tmp_path, 1, is_complete=True).error_rate == 0.0


@pytest.mark.parametrize("lost", [OBJECTS, RESULTS])
@pytest.mark.parametrize("is_complete", [True, False])
def test_a_used_object_without_its_result_is_an_error_and_a_result_without_its_objects_too(
    lost: str, is_complete: bool, tmp_path: Path
) -> None:
    commit(tmp_path, OTHERS[0])
    commit(tmp_path, PAIR)
    (tmp_path / lost / "part-000001.parquet").unlink()
    with pytest.raises(OutputError, match="do not belong together"):
        reconcile(tmp_path, 1, is_complete=is_complete)


def test_an_examination_with_two_results_is_an_error(tmp_path: Path) -> None:
    commit(tmp_path, PAIR)
    commit(tmp_path, OTHERS[0])
    (tmp_path / RESULTS / "part-000002.parquet").write_bytes((tmp_path / RESULTS / "part-000000.parquet").read_bytes())
    with pytest.raises(OutputError, match="1 examinations have more than one row"):
        add_up(tmp_path)
