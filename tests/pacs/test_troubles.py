"""What a PACS does not send is asked for once more, then reported, and asked for again by the next command."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from tests.archives import Scan, uid
from tests.pacs.conftest import encode_scan

from bsbatch.errors import ItemError, OutputError, SourceError, UsageError
from bsbatch.pacs.fetch import Tally, fetch
from bsbatch.pacs.ledger import LEDGER, OBJECTS, STUDIES, FetchStatus
from bsbatch.pacs.protocol import PacsObject, PacsStudy, StudyFilter, Trouble
from bsbatch.pacs.settings import FetchConfig
from bsbatch.store.parts import all_rows

SCANS = {uid("sop", 0, number): encode_scan(Scan(0, instance=number)) for number in (1, 2, 3)}
FIRST, SECOND, THIRD = SCANS


class FakePacs:
    """A PACS with one study of three scans; answers are exchanged by the tests."""

    lanes = 1

    def __init__(self) -> None:
        self.study = PacsStudy(uid("study", 0), 3)
        self.answers: dict[str, bytes | Exception | None] = dict(SCANS)
        self.asked: list[list[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def studies(self, _wanted: StudyFilter) -> Iterator[PacsStudy]:
        yield self.study
        yield self.study  # a page that moved while it was read

    def objects(self, _study: PacsStudy) -> list[PacsObject]:
        return [PacsObject(uid("series", 0, 1), sop, "NM", series_size=3) for sop in SCANS]

    def retrieve(self, _study: PacsStudy, objects: Sequence[PacsObject]) -> Iterator[tuple[str, bytes]]:
        self.asked.append([item.sop_uid for item in objects])
        for item in objects:
            answer = self.answers.get(item.sop_uid)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                yield item.sop_uid, answer


@pytest.fixture
def pacs() -> FakePacs:
    return FakePacs()


def run(pacs: FakePacs, folder: Path) -> Tally:
    return fetch(FetchConfig("dicomweb:http://pacs.example", folder), pacs, lambda _: None)


def mirrored(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.glob("objects/*/*")}


def test_all_is_fetched_once_though_the_study_is_listed_twice(pacs: FakePacs, tmp_path: Path) -> None:
    tally = run(pacs, tmp_path)

    assert pacs.asked == [list(SCANS)]
    assert mirrored(tmp_path) == set(SCANS.values())
    assert (tally.studies, tally.failed, tally.size) == (1, 0, sum(map(len, SCANS.values())))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, Trouble.NOT_SENT),
        (SCANS[FIRST], Trouble.OTHER_OBJECT),
        (b"<html>busy</html>", Trouble.OTHER_OBJECT),
        (SCANS[SECOND][:-1000], Trouble.INCOMPLETE),
        (ItemError(Trouble.REFUSED, "the PACS answers with HTTP status 500"), Trouble.REFUSED),
    ],
)
def test_an_object_that_does_not_arrive_whole_is_asked_for_once_more_and_then_failed(
    pacs: FakePacs, tmp_path: Path, answer: bytes | Exception | None, reason: Trouble
) -> None:
    pacs.answers = {FIRST: SCANS[FIRST], THIRD: SCANS[THIRD], SECOND: answer}
    if isinstance(answer, Exception):
        pacs.answers = {FIRST: SCANS[FIRST], SECOND: answer}

    tally = run(pacs, tmp_path)

    assert len(pacs.asked) == 2
    assert pacs.asked[1][0] == SECOND
    assert SCANS[SECOND] not in mirrored(tmp_path)
    rows = {row["sop_uid"]: row for row in all_rows(tmp_path / LEDGER / OBJECTS, ["sop_uid", "reason", "status"])}
    assert rows[FIRST]["status"] == FetchStatus.FETCHED
    assert rows[SECOND] == {"sop_uid": SECOND, "reason": reason, "status": FetchStatus.FAILED}
    assert tally.reasons[reason] == tally.failed > 0


def test_the_next_command_asks_for_what_failed_alone(pacs: FakePacs, tmp_path: Path) -> None:
    del pacs.answers[SECOND]
    run(pacs, tmp_path)
    pacs.answers, pacs.asked = dict(SCANS), []

    tally = run(pacs, tmp_path)

    assert pacs.asked == [[SECOND]]
    assert tally.failed == 0
    assert mirrored(tmp_path) == set(SCANS.values())
    assert [row["status"] for row in all_rows(tmp_path / LEDGER / STUDIES, ["status"])] == ["failed", "fetched"]
    assert run(pacs, tmp_path).studies == 0


def test_a_study_that_has_grown_is_asked_for_again(pacs: FakePacs, tmp_path: Path) -> None:
    run(pacs, tmp_path)
    pacs.study, pacs.asked = pacs.study._replace(instances=4), []

    assert run(pacs, tmp_path).studies == 1
    assert pacs.asked == []  # its objects have files


def test_a_study_whose_objects_cannot_be_listed_fails_alone(
    pacs: FakePacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: FakePacs, _study: PacsStudy) -> list[PacsObject]:
        raise ItemError(Trouble.REFUSED, "no")

    monkeypatch.setattr(FakePacs, "objects", refuse)

    tally = run(pacs, tmp_path)

    assert (tally.failed_studies, tally.reasons) == (1, {Trouble.REFUSED: 1})


def test_what_was_done_before_the_pacs_went_away_is_in_the_ledger(
    pacs: FakePacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def studies(self: FakePacs, _wanted: StudyFilter) -> Iterator[PacsStudy]:
        yield self.study
        raise SourceError("gone")

    monkeypatch.setattr(FakePacs, "studies", studies)

    with pytest.raises(SourceError, match="gone"):
        run(pacs, tmp_path)

    assert len(list(all_rows(tmp_path / LEDGER / STUDIES, ["status"]))) == 1


def test_a_full_disk_stops_the_command(pacs: FakePacs, tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file in its place")

    with pytest.raises(OutputError, match="cannot write to"):
        run(pacs, tmp_path)


def test_two_commands_do_not_write_to_one_mirror(pacs: FakePacs, tmp_path: Path) -> None:
    class Second(FakePacs):
        def objects(self, study: PacsStudy) -> list[PacsObject]:
            with pytest.raises(UsageError, match="another"):
                run(FakePacs(), tmp_path)
            return super().objects(study)

    assert run(Second(), tmp_path).failed == 0


def test_rows_that_a_killed_command_left_without_their_study_are_replaced(pacs: FakePacs, tmp_path: Path) -> None:
    run(pacs, tmp_path)
    for part in (tmp_path / LEDGER / STUDIES).glob("part-*"):
        part.unlink()  # it was killed between the two parts
    pacs.asked = []

    run(pacs, tmp_path)

    assert pacs.asked == []
    assert sorted(row["sop_uid"] for row in all_rows(tmp_path / LEDGER / OBJECTS, ["sop_uid"])) == sorted(SCANS)
