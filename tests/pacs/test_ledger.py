import tracemalloc
from pathlib import Path

import pytest

from bsbatch.errors import UsageError
from bsbatch.pacs import ledger as module
from bsbatch.pacs.ledger import LEDGER, OBJECTS, STUDIES, FetchStatus, ObjectOutcome, StudyOutcome, open_ledger
from bsbatch.pacs.protocol import PacsObject, PacsStudy
from bsbatch.store.parts import all_rows, parts_in

SOURCE = "dicomweb:https://pacs.example"


def outcome(number: int) -> StudyOutcome:
    found = PacsObject("1.2.3", f"1.2.3.{number}", description="Secret^Patience")
    return StudyOutcome(PacsStudy(f"1.2.{number}", 1), (ObjectOutcome(found, FetchStatus.FETCHED, size=7),))


def test_rows_reach_the_disk_in_parts_and_are_known_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STUDIES_A_PART", 4)
    with open_ledger(tmp_path, SOURCE) as ledger:
        for number in range(10):
            assert ledger.claim(outcome(number).study)
            assert not ledger.claim(outcome(number).study)
            ledger.add(outcome(number))

    for table in (STUDIES, OBJECTS):
        assert len(parts_in(tmp_path / LEDGER / table)) == 3
        rows = list(all_rows(tmp_path / LEDGER / table, ["study_uid", "bytes"]))
        assert rows == [{"study_uid": f"1.2.{number}", "bytes": 7} for number in range(10)]
    with open_ledger(tmp_path, SOURCE) as ledger:
        assert [ledger.claim(PacsStudy(f"1.2.{number}", 1)) for number in (0, 9, 10)] == [False, False, True]
    assert b"Secret" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))


def test_rows_wait_some_seconds_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_A_PART", 0.0)
    with open_ledger(tmp_path, SOURCE) as ledger:
        ledger.add(outcome(1))
        assert len(parts_in(tmp_path / LEDGER / STUDIES)) == 1


def test_a_study_takes_some_bytes_of_memory(tmp_path: Path) -> None:
    """DigestSet holds 32 bytes each at most; rows are on the disk."""
    with open_ledger(tmp_path, SOURCE) as ledger:
        for number in range(1000):
            ledger.claim(PacsStudy(f"1.{number}"))
        tracemalloc.start()
        try:
            for number in range(1000, 31000):
                ledger.claim(PacsStudy(f"1.2.840.113619.{number}"))
            assert tracemalloc.get_traced_memory()[0] < 40 * 30000
        finally:
            tracemalloc.stop()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError), open_ledger(tmp_path / "file", SOURCE):
        pass
