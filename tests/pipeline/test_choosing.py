from datetime import date
from itertools import permutations
from pathlib import Path

import pytest
from tests.archives import Scan, dataset_of, write

from bsbatch.config import Selection, StudyChoice
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.choosing import Choosing, names_of
from bsbatch.pipeline.intake import Intake
from bsbatch.pseudonyms import PatientKeys, Pseudonymiser
from bsbatch.reasons import Reason
from bsbatch.run.setup import choose_studies
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

KEYS = PatientKeys.of(b"key")


def put(folder: Path, name: str, scan: Scan, **values: str) -> None:
    dataset = dataset_of(scan)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    write(dataset, folder / name)


def decided(folder: Path, choosing: Choosing) -> dict[str, Reason | None]:
    """The reason of each object after a plan, None if it is part of an examination without a defect."""
    intake = Intake(
        DirectorySource(folder),
        Selection(),
        Catalog(),
        Telemetry(),
        Isolation(),
        1,
        KEYS,
        choosing=choosing,
        holds_all=True,
    )
    found: dict[str, Reason | None] = {}
    for unit in intake.units(99, None):
        found |= {item.ref.source: item.verdict.reason for item in unit.settled}
        for exam in unit.exams:
            reason = None if exam.defect is None else exam.defect.reason
            found |= {scan.ref.source: reason for scan in exam.scans}
    return found


@pytest.mark.parametrize("names", [*permutations("abc")])
def test_a_study_with_one_object_inside_is_decided_from_all_its_objects(
    tmp_path: Path, names: tuple[str, str, str]
) -> None:
    """The pair stays whole although the dates of its views are on both sides, whatever the order of the objects."""
    front, back, other = names
    put(tmp_path, front, Scan(0, "A", 1), StudyDate="20200102")
    put(tmp_path, back, Scan(0, "P", 2), StudyDate="20191231")
    put(tmp_path, other, Scan(1), StudyDate="20191231")

    found = decided(tmp_path, choose_studies(StudyChoice(since=date.fromisoformat("2020-01-01")), KEYS, None))

    assert found == {front: None, back: None, other: Reason.NOT_SELECTED}


@pytest.mark.parametrize("names", [*permutations("ab")])
def test_one_excluded_object_takes_its_study_with_it(tmp_path: Path, names: tuple[str, str]) -> None:
    put(tmp_path, names[0], Scan(0, instance=1), AccessionNumber="NO")
    put(tmp_path, names[1], Scan(0, instance=2), AccessionNumber="YES")

    found = decided(tmp_path, Choosing(exclude=names_of(["NO"], KEYS, None)))

    assert set(found.values()) == {Reason.NOT_SELECTED}


def test_the_date_of_a_study_decides_before_that_of_its_acquisition_and_none_is_in_no_range(tmp_path: Path) -> None:
    put(tmp_path, "study", Scan(0), StudyDate="20190101", AcquisitionDate="20200101")
    put(tmp_path, "acquisition", Scan(1), AcquisitionDate="20190101")
    put(tmp_path, "later", Scan(2), AcquisitionDate="20200101")
    put(tmp_path, "none", Scan(3, time=None))

    found = decided(tmp_path, Choosing(until=date.fromisoformat("2019-12-31")))

    assert [name for name, reason in found.items() if reason is None] == ["acquisition", "study"]


def test_defects_of_a_study_outside_do_not_count_and_other_objects_keep_their_reason(tmp_path: Path) -> None:
    put(tmp_path, "single", Scan(0, "A"), Manufacturer="Siemens")
    put(tmp_path, "tomography", Scan(1), ImageType="ORIGINAL\\PRIMARY\\TOMO\\EMISSION")

    assert decided(tmp_path, Choosing(manufacturer="siemens"))["single"] is Reason.SINGLE_VIEW_ONLY
    assert decided(tmp_path, Choosing(manufacturer="ge")) == {
        "single": Reason.NOT_SELECTED,
        "tomography": Reason.NOT_WHOLE_BODY,
    }


def test_lists_have_digests_that_depend_on_their_values_and_on_the_key_alone() -> None:
    def digests(values: list[str], secret: bytes) -> dict[str, str]:
        return Choosing(accessions=names_of(values, PatientKeys.of(secret), None)).facts()

    assert digests(["A", "B"], b"1") == digests(["B", "A", "A"], b"1")
    assert len({str(digests(*case)) for case in ((["A"], b"1"), (["A"], b"2"), (["B"], b"1"))}) == 3
    assert Choosing().facts() == {}


def test_with_pseudonyms_a_uid_is_known_by_both_of_its_names() -> None:
    pseudonymiser = Pseudonymiser(b"0123456789abcdef")
    pseudonym = pseudonymiser.uid("1.2.3")

    assert {"1.2.3", pseudonym} <= names_of(["1.2.3"], KEYS, pseudonymiser)
    assert pseudonym in names_of([str(pseudonym)], KEYS, pseudonymiser)
