"""Labels of a training whose table is joined by accession, or by patient and date: with the headers of the archive."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bsbatch.cohort.cells import dates_of
from bsbatch.cohort.examined import Examined, ExaminedSet
from bsbatch.cohort.joining import Joined, join
from bsbatch.cohort.settings import LabelTable
from bsbatch.config import Selection
from bsbatch.evaluation.labels import LabelFile, joined_labels, read_labels
from bsbatch.host.machine import usable_cpus
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.intake import Intake
from bsbatch.records import Examination
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_UNIT = 256


def read_training_labels(labels: Path, table: LabelTable | None, archive: Path) -> LabelFile:
    """Read the labels; those of a joined table name patients by numbers, so that all studies of one stay together.

    Raises
    ------
    UsageError
        The labels cannot be used.
    """
    if table is None:
        return read_labels(labels)
    examined = examine(archive)
    file, patients = joined_labels(join(table, examined)), _number_patients(examined)
    named = {uid: replace(label, patient_id=patients.get(uid)) for uid, label in file.labels.items()}
    return replace(file, labels=named)


def join_archive(table: LabelTable, archive: Path) -> Joined:
    """Join a table with the examinations of an archive, for ``--dry-run``."""
    return join(table, examine(archive))


def examine(archive: Path) -> ExaminedSet:
    """Read the headers of an archive. What they say of patients stays in memory.

    Raises
    ------
    UsageError
        The archive is no folder.
    """
    source = DirectorySource(archive)
    with Isolation() as isolation:
        intake = Intake(
            source,
            Selection(),
            Catalog(),
            Telemetry(),
            isolation,
            usable_cpus(),
            is_identified=True,
            holds_all=True,
        )
        exams = tuple(_examined(exam) for unit in intake.units(_UNIT, None) for exam in unit.exams)
    return ExaminedSet(exams, str, str, is_identified=True)


def _examined(exam: Examination) -> Examined:
    view = exam.anterior or exam.posterior
    scan = view.scan if view is not None else exam.scans[0]
    identity = scan.demographics.identity
    study_date = identity.study_date if identity is not None else None
    day, study_day = dates_of([scan.header.acquisition_date or "", study_date or ""])
    return Examined(
        exam.exam_id,
        scan.header.study_uid,
        identity.accession_number if identity is not None else None,
        identity.patient_id if identity is not None else None,
        identity.patient_issuer if identity is not None else None,
        day or study_day,
    )


def _number_patients(examined: ExaminedSet) -> Mapping[str, str]:
    """Name the patient of each study by a number; a study without a Patient ID has none."""
    numbers: dict[tuple[str, str | None], str] = {}
    found: dict[str, str] = {}
    for item in examined.examinations:
        if item.study_uid and item.patient:
            found[item.study_uid] = numbers.setdefault((item.patient, item.issuer), f"patient {len(numbers) + 1}")
    return found
