"""An export as a hospital makes it: phantoms in PACS folders, zips, tars and on a CD, and tables about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import openpyxl
import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from tests.archives import uid
from tests.dicom.headers.canary import BIRTH, CANARY
from tests.end_to_end.tables import expected, read_csv

from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.containers import pack
from bsbatch_build.phantom.plan import SetPlan

UNLABELLED = 5
"""Studies without a row in the tables."""
_PRIMARY = ("Prostata", "Mamma", "Lunge")


@dataclass(frozen=True, slots=True)
class Study:
    """One study of the tables."""

    uid: str
    accession: str
    patient: str
    day: date
    is_positive: bool


@dataclass(frozen=True, slots=True)
class Export:
    """The written files, and what is known of them."""

    labelled: Sequence[Study]
    examinations: int
    """Examinations that can be scored, repeats among them."""
    patients: int
    """Patients of the studies with one."""


def write_export(folder: Path, studies: int = 16, seed: int = 3) -> Export:
    """Write the folder ``EXPORT`` and the workbook ``findings.xlsx``.

    The names, numbers and birth dates of all patients hold the canary. The first two studies are of one patient, the
    next two of two patients with one name; one study was acquired twice.
    """
    write_set(folder / "set", SetPlan(studies, seed))
    archive = (folder / "set" / "archive").rename(folder / "EXPORT")
    labels = {row["study_uid"]: row["label"] == "1" for row in read_csv(folder / "set" / "labels.csv")}
    used = {archive / source for source, row in expected(folder / "set").items() if row["status"] == "used"}
    numbers = {study: number for number, study in enumerate(labels)}
    found: dict[str, list[tuple[Path, FileDataset]]] = {study: [] for study in labels}
    for path, dataset in _objects(archive):
        _name(dataset, numbers.get(dataset.StudyInstanceUID))
        dataset.save_as(path)
        if path in used:
            found[dataset.StudyInstanceUID].append((path, dataset))
    _repeat(next(scan for (scan, *others) in found.values() if not others and _is_plain(scan[1])))
    known = [_study(objects[0][1], is_positive=labels[study]) for study, objects in found.items()]
    pack(archive)
    _burn(archive)
    _write_tables(folder / "findings.xlsx", known[:-UNLABELLED])
    return Export(known[:-UNLABELLED], studies + 1, studies - 1)


def _objects(archive: Path) -> Iterator[tuple[Path, FileDataset]]:
    """Objects that pydicom can read and write; the others stay as they are, faults of an export."""
    for path in sorted(filter(Path.is_file, archive.rglob("*"))):
        try:
            dataset = pydicom.dcmread(path)
            if "StudyInstanceUID" in dataset and "PatientID" in dataset:
                yield path, dataset
        except InvalidDicomError:
            continue


def _name(dataset: FileDataset, number: int | None) -> None:
    """Give an object the identity of a patient; None for one of a study that is in no table."""
    dataset.PatientID = str(dataset.PatientID).replace("PHANTOM", CANARY)
    dataset.PatientName = f"{CANARY}^{dataset.PatientID}"
    dataset.PatientBirthDate, dataset.InstitutionName = BIRTH, f"{CANARY} Klinik"
    dataset.StudyDescription, dataset.AccessionNumber = f"{CANARY} Szinti", f"{CANARY}-{number}"
    if number in {0, 1}:
        dataset.PatientID = f"{CANARY}-0815"
    if number in {2, 3}:
        dataset.PatientName = f"{CANARY}^Maria"


def _is_plain(dataset: FileDataset) -> bool:
    return not dataset.file_meta.TransferSyntaxUID.is_compressed and int(dataset.NumberOfFrames) == 2


def _repeat(scan: tuple[Path, FileDataset]) -> None:
    """Write a second acquisition of a study, an hour later."""
    path, dataset = scan
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid("repeat"))
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uid("series"), uid("frame of reference")
    dataset.AcquisitionTime = "235900"
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") // 2).tobytes()
    dataset.save_as(path.with_name("repeat"))


def _study(dataset: FileDataset, *, is_positive: bool) -> Study:
    day = date.fromisoformat(dataset.StudyDate)
    return Study(dataset.StudyInstanceUID, dataset.AccessionNumber, dataset.PatientID, day, is_positive)


def _burn(archive: Path) -> None:
    """Move the first study that was not packed onto a CD, with its index."""
    folder = next(path.parent for path in sorted(archive.rglob("*")) if path.suffix == ".dcm")
    (archive / "CD1").mkdir()
    folder.rename(archive / "CD1" / "DICOM")
    (archive / "CD1" / "AUTORUN.INF").write_text("[autorun]\n")


def _write_tables(path: Path, studies: Sequence[Study]) -> None:
    """Write the sheets: one by accession, and one by patient and a date up to 14 days off."""
    book = openpyxl.Workbook()
    findings, board = book.active, book.create_sheet("Tumorboard")
    findings.title = "Befunde"
    findings.append(["Accession Number", "Metastasen", "PSA", "PSA-Band", "Primärtumor"])
    board.append(["Pat-ID", "Datum", "Metastasen"])
    for number, study in enumerate(studies):
        label, days = ("nein", "ja")[study.is_positive], (number * 5) % 15
        band = ("bis 20", "über 20")[study.is_positive]
        primary = _PRIMARY[number % len(_PRIMARY)]
        findings.append([study.accession, label, f"{(0.4, 40.5)[study.is_positive]}".replace(".", ","), band, primary])
        board.append([study.patient, f"{study.day + timedelta(days):%d.%m.%Y}", label])
    book.save(path)
