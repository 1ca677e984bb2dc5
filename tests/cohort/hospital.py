"""A small archive with identity, and the tables that a hospital would keep about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import openpyxl
from tests.archives import Scan, dataset_of, write

from bsbatch.config import BackendName, RunConfig
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen


@dataclass(frozen=True, slots=True)
class Study:
    """One study, with one examination."""

    number: int
    patient: str
    day: str
    """``YYYYMMDD``."""
    label: str = ""
    """ja or nein; empty without a row in the tables."""
    psa: str = ""
    primary: str = ""


STUDIES = (
    Study(0, "P1", "20190110", "ja", "12,5", "Prostata"),
    Study(1, "P1", "20190902", "nein", "0,3", "Prostata"),
    Study(2, "P2", "20190211", "nein", "", "Mamma"),
    Study(3, "P3", "20190312", "ja", "120,0", "Prostata"),
    Study(4, "P4", "20190413", "nein", "4,1", "Mamma"),
    Study(5, "P5", "20190514"),
)
"""Two scans of one patient; the last one has no label."""


def accession(study: Study) -> str:
    """Accession Number of a study."""
    return f"ACC-{study.number:03}"


def write_archive(folder: Path) -> Path:
    """Write the objects."""
    for study in STUDIES:
        dataset = dataset_of(Scan(study.number, rows=64, columns=32))
        dataset.PatientID, dataset.AccessionNumber = study.patient, accession(study)
        dataset.StudyDate = dataset.AcquisitionDate = study.day
        dataset.PatientSex, dataset.PatientBirthDate = "MF"[study.number % 2], "19480305"
        write(dataset, folder / f"{study.number}.dcm")
    return folder


def write_sheets(path: Path) -> Path:
    """Write a workbook: labels by accession, and labels by patient and a date up to 14 days off."""
    book = openpyxl.Workbook()
    first, second = book.active, book.create_sheet("Patienten")
    first.title = "Befunde"
    first.append(["Accession Number", "Metastasen", "PSA", "Primärtumor"])
    second.append(["Pat-ID", "Datum", "Metastasen"])
    for study in filter(lambda each: each.label, STUDIES):
        first.append([accession(study), study.label, study.psa, study.primary])
        second.append([study.patient, f"{study.day[6:]}.{study.day[4:6]}.{study.day[:4]}", study.label])
    first.append(["ACC-999", "ja", "1,0", "Prostata"])
    book.save(path)
    return path


def run(archive: Path, out: Path, *, is_identified: bool = False) -> Path:
    """Screen the archive without a model."""
    screen(RunConfig(archive, out, backend=BackendName.FAKE, is_identified=is_identified), SilentReporter())
    return out


def expected() -> Mapping[str, bool]:
    """Label of each labelled study by its Accession Number."""
    return {accession(study): study.label == "ja" for study in STUDIES if study.label}
