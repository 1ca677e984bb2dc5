"""Choice of the studies that a run scores: by date, manufacturer and lists, from headers alone."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from bsbatch.pseudonyms import PatientKeys, Pseudonymiser
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Header, ScanObject

NOT_SELECTED = Verdict.of(Stage.PAIRING, Reason.NOT_SELECTED)
"""Verdict of the objects of a study that is left out; of pairing, since the whole study decides."""
_DIGITS = 16

Names = frozenset[str]
"""Studies by every name that an object may have for them (`names_of`)."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """The studies that were asked for. All conditions must hold for one object of a study."""

    since: date | None = None
    until: date | None = None
    manufacturer: str | None = None
    """Casefolded part of Manufacturer."""
    accessions: Names | None = None
    worklist: Names | None = None
    exclude: Names | None = None

    def judge(self, header: Header, accession_key: str | None, day: int | None) -> bool | None:
        """Return the value of `bsbatch.records.ScanObject.is_wanted`.

        Parameters
        ----------
        header
            Of a whole-body object, as rows have it.
        accession_key
            Keyed hash of its Accession Number.
        day
            Proleptic ordinal of the date of its study. Without a date it is in no range.
        """
        names = accession_key, header.study_uid
        if self.exclude is not None and not self.exclude.isdisjoint(names):
            return None
        if any(only is not None and only.isdisjoint(names) for only in (self.accessions, self.worklist)):
            return False
        if self.manufacturer is not None and self.manufacturer not in (header.manufacturer or "").casefold():
            return False
        return self._is_in_range(day)

    def _is_in_range(self, day: int | None) -> bool:
        if self.since is None and self.until is None:
            return True
        first, last = self.since or date.min, self.until or date.max
        return day is not None and first.toordinal() <= day <= last.toordinal()

    def facts(self) -> dict[str, str]:
        """Return the conditions for hashes and ``run.json``: of a list a digest that no one without the key can guess.

        Lists of the same values in another order are equal.
        """
        plain = {"since": self.since, "until": self.until, "manufacturer": self.manufacturer}
        lists = {"accessions": self.accessions, "worklist": self.worklist, "exclude": self.exclude}
        found = {name: str(value) for name, value in plain.items() if value is not None}
        return found | {name: _digest(names) for name, names in lists.items() if names is not None}


ALL_STUDIES = Choosing()


def is_left_out(scans: Sequence[ScanObject]) -> bool:
    """Return True for the objects of a study none of which was asked for, or one of which is excluded."""
    wishes = {scan.is_wanted for scan in scans}
    return None in wishes or True not in wishes


def names_of(values: Iterable[str], keys: PatientKeys, pseudonymiser: Pseudonymiser | None) -> Names:
    """Return what rows of a run may have in place of some Accession Numbers and Study Instance UIDs.

    With pseudonyms a value may be the true UID or its pseudonym, as earlier runs with the same key have it.
    """
    names = {name for value in values for name in (value, keys.accession(value))}
    if pseudonymiser is not None:
        names |= {pseudonymiser.uid(value) for value in values}
    return frozenset(filter(None, names))


def _digest(names: Names) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:_DIGITS]
