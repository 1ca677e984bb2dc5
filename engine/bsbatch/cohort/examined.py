"""Examinations of a run as far as a join needs them, and the keys by which rows of a table find them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

from bsbatch.cohort.cells import dates_of
from bsbatch.errors import OutputError, UsageError
from bsbatch.pseudonyms import PatientKeys
from bsbatch.store.folder import open_patient_key, read_run_file
from bsbatch.store.parts import all_rows, parts_in
from bsbatch.store.tables import RESULTS, Row

_COLUMNS = ["exam_id", "study_uid", "accession_key", "patient_key", "acquisition_date"]
_NAMED = ["accession_number", "patient_id", "patient_issuer", "study_date"]

Key = Callable[[str], str | None]
"""Returns for an identifier the value by which examinations are found: itself, or its keyed hash."""


class Examined(NamedTuple):
    """One examination; without ``--identify`` accession and patient are keyed hashes, and there is no issuer."""

    exam_id: str
    study_uid: str | None
    accession: str | None
    patient: str | None
    issuer: str | None
    day: date | None
    """Of the acquisition, else of the study."""


@dataclass(frozen=True, slots=True)
class ExaminedSet:
    """The examinations of a run."""

    examinations: tuple[Examined, ...]
    accession_key: Key
    patient_key: Key
    is_identified: bool


def read_examined(out: Path) -> ExaminedSet:
    """Read the examinations of a run.

    Parameters
    ----------
    out
        Its output folder.

    Raises
    ------
    UsageError
        There are none, or the tables or the key cannot be read.
    """
    if not parts_in(out / RESULTS):
        raise UsageError(f"{out} holds no results: give the --out folder of bsbatch run")
    config = read_run_file(out).get("config", {})
    is_identified = bool(config.get("identified"))
    try:
        rows = list(all_rows(out / RESULTS, _COLUMNS + _NAMED if is_identified else _COLUMNS))
    except OutputError as error:
        raise UsageError(str(error)) from error
    examinations = tuple(_examined(row, is_identified=is_identified) for row in rows)
    if is_identified:
        return ExaminedSet(examinations, _same, _same, is_identified=True)
    keys = _Keys(out, is_pseudonymised=bool(config.get("pseudonymised")))
    return ExaminedSet(examinations, keys.accession, keys.patient, is_identified=False)


def _same(value: str) -> str:
    return value


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keyed hashes of identifiers, as the run made them; its key is read when the first is needed."""

    out: Path
    is_pseudonymised: bool

    def accession(self, number: str) -> str | None:
        return self._keys().accession(number)

    def patient(self, patient_id: str) -> str | None:
        return self._keys().patient(patient_id)

    def _keys(self) -> PatientKeys:
        if self.is_pseudonymised:
            raise UsageError(
                f"{self.out} holds pseudonyms, whose key is not kept there: join by study, with UIDs as in its results"
            )
        return PatientKeys.of(open_patient_key(self.out))


def _examined(row: Row, *, is_identified: bool) -> Examined:
    (day, study_day) = dates_of([row.get("acquisition_date") or "", row.get("study_date") or ""])
    return Examined(
        row["exam_id"],
        row["study_uid"],
        row["accession_number"] if is_identified else row.get("accession_key"),
        row["patient_id"] if is_identified else row.get("patient_key"),
        row["patient_issuer"] if is_identified else None,
        day or study_day,
    )
