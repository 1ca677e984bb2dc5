import hashlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from tests.build_tools.phantom.conftest import STUDIES, WrittenSet

from bsbatch_build.phantom import archive as phantoms
from bsbatch_build.phantom.archive import EXPECTED_HEADER, LABEL_HEADER, study_of, write_set
from bsbatch_build.phantom.centres import Dialect
from bsbatch_build.phantom.clutter import COMPANIONS, COPIES, EXTRA_STUDIES
from bsbatch_build.phantom.plan import SetPlan, Split, assign


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_plans_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_set(tmp_path / name, SetPlan(studies=3, seed=5))
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_the_bytes_of_one(
    processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantoms, "_SERIAL_STUDIES", 1)
    monkeypatch.setattr(phantoms, "usable_cpus", lambda: processes)
    seen: list[int] = []
    write_set(tmp_path / "one", SetPlan(studies=10, seed=5), seen.append)
    monkeypatch.setattr(phantoms, "_SERIAL_STUDIES", 10)
    write_set(tmp_path / "two", SetPlan(studies=10, seed=5))
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")
    assert seen == list(range(1, 11))


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    for seed in (5, 6):
        write_set(tmp_path / str(seed), SetPlan(studies=1, seed=seed, clutter=False))
    assert not set(_digests(tmp_path / "5" / "archive").values()) & set(_digests(tmp_path / "6" / "archive").values())


def test_a_seed_gives_other_patients_at_another_centre() -> None:
    plans = [SetPlan(studies=3, seed=5, centres=(name,), clutter=False) for name in "ABC"]
    patients = [study_of(plan, index).case.patient for plan in plans for index in range(plan.studies)]
    assert len(set(patients)) == len(patients)


def test_a_seed_gives_other_days_at_another_centre(tmp_path: Path) -> None:
    moments: set[tuple[str, str]] = set()
    for name in "AC":
        write_set(tmp_path / name, SetPlan(studies=1, seed=5, centres=(name,), clutter=False))
        header = pydicom.dcmread(next(path for path in (tmp_path / name / "archive").rglob("*") if path.is_file()))
        moments.add((header.StudyDate, header.StudyTime))
    assert len(moments) == 2


def test_a_study_does_not_depend_on_the_number_of_studies(tmp_path: Path) -> None:
    write_set(tmp_path / "few", SetPlan(studies=1, seed=5))
    write_set(tmp_path / "more", SetPlan(studies=3, seed=5))
    few, more = _digests(tmp_path / "few" / "archive"), _digests(tmp_path / "more" / "archive")
    assert few.items() <= more.items()


def test_headers_of_the_tables(written: WrittenSet) -> None:
    assert (written.folder / "labels.csv").read_text().splitlines()[0] == "study_uid,label,centre,split,lesions,sex,age"
    assert (written.folder / "expected.csv").read_text().splitlines()[0] == "source,kind,status,reason"
    assert LABEL_HEADER[0] == "study_uid"
    assert EXPECTED_HEADER[0] == "source"


def test_expected_lists_exactly_the_files_of_the_archive(written: WrittenSet) -> None:
    archive = written.folder / "archive"
    present = sorted(path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file())
    assert [row["source"] for row in written.rows("expected.csv")] == present
    statuses = Counter(row["status"] for row in written.rows("expected.csv"))
    summary = written.summary
    assert statuses == {"used": summary.used, "skipped": summary.skipped, "failed": summary.failed}
    assert summary.files == len(present)


def test_every_dialect_and_every_kind_of_clutter_occurs(written: WrittenSet) -> None:
    kinds = {row["kind"] for row in written.rows("expected.csv")}
    assert kinds == {*Dialect, *(kind.name for kind in (*COMPANIONS, *EXTRA_STUDIES, *COPIES))}
    assert {row["reason"] for row in written.rows("expected.csv") if row["kind"] in set(Dialect)} == {
        "",
        "duplicate_view",
    }


def test_every_labelled_study_has_its_files_and_no_other_study_is_used(written: WrittenSet) -> None:
    used = {str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID) for path, _ in written.files("used")}
    labels = written.rows("labels.csv")
    assert used == {row["study_uid"] for row in labels}
    assert len(labels) == STUDIES
    assert {row["centre"] for row in labels} == {"A", "B", "C"}
    assert all((row["split"] == "test") == (row["centre"] == "C") for row in labels)
    assert all(row["sex"] in {"M", "F"} and 25 <= int(row["age"]) <= 92 for row in labels)
    assert all((int(row["lesions"]) > 0) == (row["label"] == "1") for row in labels)


def test_the_second_copy_in_path_order_is_the_duplicate(written: WrittenSet) -> None:
    seen: set[str] = set()
    for path, row in sorted(written.files("used", "skipped"), key=lambda pair: pair[1]["source"]):
        if row["kind"] not in set(Dialect):
            continue
        uid = str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        assert (uid in seen) == (row["status"] == "skipped")
        seen.add(uid)


def test_masks_belong_to_positives_and_number_their_lesions(written: WrittenSet) -> None:
    positives = {row["study_uid"]: int(row["lesions"]) for row in written.rows("labels.csv") if row["label"] == "1"}
    names = {path.name for path in (written.folder / "masks").iterdir()}
    assert names == {f"{uid}_{view}.png" for uid in positives for view in ("anterior", "posterior")}
    for uid, lesions in positives.items():
        masks = [
            np.asarray(cv2.imread(str(written.folder / "masks" / f"{uid}_{view}.png"), cv2.IMREAD_UNCHANGED))
            for view in ("anterior", "posterior")
        ]
        numbers = set(np.unique(masks[0])) | set(np.unique(masks[1]))
        assert all(mask.dtype == np.uint8 for mask in masks)
        assert max(numbers) <= lesions


def test_the_prevalence_and_the_splits_follow_the_paper() -> None:
    plan = SetPlan(studies=2365, seed=3)
    assignments = [assign(plan, index) for index in range(plan.studies)]
    for name, share in (("A", 293 / 1019), ("B", 118 / 348), ("C", 411 / 998)):
        positives = [one.positive for one in assignments if one.centre.name == name]
        assert np.mean(positives) == pytest.approx(share, abs=0.03)
    splits = Counter(one.split for one in assignments)
    assert splits[Split.TEST] == pytest.approx(998, abs=25)
    assert splits[Split.VALIDATION] == pytest.approx(164, abs=25)


def test_one_centre_may_be_chosen_and_clutter_left_out(tmp_path: Path) -> None:
    summary = write_set(tmp_path / "set", SetPlan(studies=2, seed=1, centres=("B",), clutter=False))
    assert summary.failed == summary.skipped == 0
    assert summary.files == summary.used


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="not an empty folder"):
        write_set(tmp_path, SetPlan(studies=1, seed=0))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("studies", "seed", "centres", "message"),
    [
        (0, 0, ("A",), "studies must be"),
        (1, -1, ("A",), "seed must not"),
        (1, 0, ("D",), "centres must be some of A, B, C"),
        (1, 0, (), "centres must be some of"),
        (1, 0, ("A", "A"), "twice"),
    ],
)
def test_an_invalid_plan_is_refused(studies: int, seed: int, centres: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SetPlan(studies=studies, seed=seed, centres=centres)


def test_containers_are_equal_for_equal_plans_and_need_enough_studies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_set(tmp_path / name, SetPlan(studies=10, seed=5, centres=("B",), clutter=False, containers=True))

    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")
    with pytest.raises(ValueError, match="at least 10 studies, not 2"):
        write_set(tmp_path / "few", SetPlan(studies=2, seed=5, centres=("B",), clutter=False, containers=True))
