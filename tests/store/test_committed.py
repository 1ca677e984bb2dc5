from pathlib import Path
from typing import Any

from tests.dicom.objects import ref, scan

from bsbatch.dicom.copies import duplicate
from bsbatch.dicom.pairing import examine
from bsbatch.identity import DigestSet, digest
from bsbatch.pipeline.waiting import key_of
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Failure, Prediction, Quality, ScanObject, SettledObject, UnitOutcome
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.committed import Committed, uid_digest
from bsbatch.store.parts import all_rows
from bsbatch.store.tables import OBJECTS, RESULTS, Provenance

QUALITY = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "00")
ANTERIOR, POSTERIOR = scan("A", "a"), scan("P", "p")
PAIR, BOTH = examine((ANTERIOR, POSTERIOR)), examine((scan("AP", "both", study_uid="1.9"),))
COPY = duplicate(scan("A", "copy", sop_uid="1.2.3.4.a"))


def committed(out: Path, *studies: ScanObject) -> Committed:
    """The rows of two studies, opened for those of some objects."""
    outcomes = (Prediction(PAIR, QUALITY, 0.5), Prediction(BOTH, QUALITY, 0.5))
    other = SettledObject(ref("ct"), None, Verdict.of(Stage.HEADER, Reason.MODALITY_NOT_NM))
    ParquetSink(out, Provenance("c0ffee", None, 0.5)).commit(UnitOutcome(outcomes, (COPY, other)))
    opened = Committed(out)
    opened.open(DigestSet(map(key_of, studies)))
    return opened


def values(out: Path, table: str, column: str) -> set[Any]:
    return {row[column] for row in all_rows(out / table, [column])}


def uids(*values: str) -> DigestSet:
    """Digests of UIDs in the study of the pair."""
    return DigestSet(number for value in values if (number := uid_digest(key_of(ANTERIOR), value)) is not None)


def present(*sources: str) -> DigestSet:
    return DigestSet(map(digest, sources))


def test_only_whole_body_objects_of_the_opened_studies_are_included(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR)

    assert [name for name in ("a", "p", "copy", "both", "ct") if opened.includes(name)] == ["a", "p", "copy"]


def test_events_that_say_the_same_as_the_rows_change_nothing(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR)

    assert opened.agrees(PAIR)
    assert opened.agrees(COPY)
    opened.withdraw()

    assert values(tmp_path, OBJECTS, "source") == {"a", "p", "copy", "both", "ct"}
    assert values(tmp_path, RESULTS, "exam_id") == {PAIR.exam_id, BOTH.exam_id}


def test_an_event_that_says_otherwise_takes_its_objects_and_their_result_with_it(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR)
    alone = [examine((view,), Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY)) for view in (ANTERIOR, POSTERIOR)]

    assert not any(map(opened.agrees, alone))
    opened.withdraw()

    assert values(tmp_path, OBJECTS, "source") == {"copy", "both", "ct"}
    assert values(tmp_path, RESULTS, "exam_id") == {BOTH.exam_id}


def test_a_copy_in_the_place_of_one_view_is_a_decision_of_its_own(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR)

    assert not opened.agrees(examine((scan("A", "copy", sop_uid="1.2.3.4.a"), POSTERIOR)))
    opened.withdraw()

    assert values(tmp_path, OBJECTS, "source") == {"a", "both", "ct"}
    assert values(tmp_path, RESULTS, "exam_id") == {BOTH.exam_id}


def test_a_failure_of_pairing_disagrees_with_a_score_of_the_same_objects(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR)

    assert not opened.agrees(examine((ANTERIOR, POSTERIOR), Verdict.of(Stage.PAIRING, Reason.MATRIX_MISMATCH)))


def test_a_failure_of_the_pixels_agrees_with_an_examination_that_was_not_read_yet(tmp_path: Path) -> None:
    unreadable = Failure(PAIR, Verdict.of(Stage.PIXELS, Reason.DECODE_FAILED))
    ParquetSink(tmp_path, Provenance("c0ffee", None, 0.5)).commit(UnitOutcome((unreadable,), ()))
    opened = Committed(tmp_path)
    opened.open(DigestSet([key_of(ANTERIOR)]))

    assert opened.agrees(PAIR)


def test_the_examination_of_an_object_that_is_gone_keeps_all_its_rows(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR)
    opened.settle_gone(present("p"), uids("another"))

    assert [name for name in ("a", "p", "copy") if opened.includes(name)] == []


def test_a_copy_takes_the_place_of_an_original_that_is_gone(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR)
    opened.settle_gone(present("p", "copy"), DigestSet())

    assert not opened.agrees(examine((scan("A", "copy", sop_uid="1.2.3.4.a"), POSTERIOR)))
    opened.withdraw()

    assert values(tmp_path, OBJECTS, "source") == {"both", "ct"}


def test_the_rows_of_an_object_under_a_new_path_are_withdrawn_with_their_examination(tmp_path: Path) -> None:
    opened = committed(tmp_path, ANTERIOR, BOTH.scans[0])
    opened.settle_gone(present("p", "copy", "both"), uids("1.2.3.4.a"))

    assert not opened.agrees(examine((scan("A", "new", sop_uid="1.2.3.4.a"), POSTERIOR)))
    assert opened.agrees(COPY)
    opened.withdraw()

    assert values(tmp_path, OBJECTS, "source") == {"copy", "both", "ct"}
    assert values(tmp_path, RESULTS, "exam_id") == {BOTH.exam_id}


def test_objects_without_a_uid_and_those_of_another_study_have_no_new_path(tmp_path: Path) -> None:
    bare = examine((scan("AP", "bare", sop_uid=None),))
    outcomes = (Prediction(bare, QUALITY, 0.5), Prediction(PAIR, QUALITY, 0.5))
    ParquetSink(tmp_path, Provenance("c0ffee", None, 0.5)).commit(UnitOutcome(outcomes, ()))
    opened = Committed(tmp_path)
    opened.open(DigestSet([key_of(ANTERIOR)]))
    elsewhere = uid_digest(key_of(BOTH.scans[0]), "1.2.3.4.a")
    opened.settle_gone(present("p"), DigestSet([1, elsewhere or 1]))
    opened.withdraw()

    assert values(tmp_path, OBJECTS, "source") == {"a", "p", "bare"}
