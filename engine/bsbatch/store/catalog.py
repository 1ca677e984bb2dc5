"""Resuming a run from the committed rows of an output folder; there is no other record of earlier runs.

A row stays if its object was used or skipped and has not changed on the disk since; that object is not opened again.
Other rows are removed before the run begins, and their objects are processed again:

- failed rows, because the cause may be gone: a missing decoder, a permission, a partner that arrives;
- all rows of an examination if one of its objects has changed;
- the rows of copies and of objects that are left out, if other rows of their study are removed;
- rows that a killed run left without their counterpart in the other table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ConfigMismatchError, OutputError
from bsbatch.identity import DigestSet, digest
from bsbatch.reasons import OF_STUDY, Status
from bsbatch.records import ObjectRef
from bsbatch.store.committed import COLUMNS, is_of_study, study_of
from bsbatch.store.parts import all_rows, keep_rows, metadata_of, parts_in, remove_leftovers
from bsbatch.store.tables import OBJECTS, RESULTS, Row

_COLUMNS = [*COLUMNS, "size", "version", "status"]


@dataclass(slots=True)
class Catalog:
    """The facts about the committed rows that a resumed run needs."""

    settled: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """Sorted digests of source, size and version, of all objects with a row."""
    studies: DigestSet = field(default_factory=DigestSet)
    """`bsbatch.identity.study_key` of whole-body objects with a row."""
    retried: set[str] = field(default_factory=set)
    """Examinations that are processed again. They do not count towards a limit: a limited run would never pass them."""

    def is_settled(self, ref: ObjectRef) -> bool:
        """Return True if the object has a row."""
        if not len(self.settled):
            return False
        key = np.uint64(_fingerprint(ref.source, ref.size, ref.version))
        index = int(np.searchsorted(self.settled, key))
        return index < len(self.settled) and bool(self.settled[index] == key)


def open_catalog(out: Path, refs: Iterable[ObjectRef], *, keeps_failures: bool = False) -> Catalog:
    """Remove the rows whose objects this run must process again, and read the rest.

    Parameters
    ----------
    out
        The output folder; its tables may be empty or missing.
    refs
        The objects on the disk now; iterated only if the folder has rows.
    keeps_failures
        True if failed rows stay, as long as their objects have not changed.

    Raises
    ------
    OutputError
        A part cannot be read or written.
    """
    if not parts_in(out / OBJECTS) and not parts_in(out / RESULTS):
        return Catalog()
    try:
        return _Tables(out, _fingerprints(refs), keeps_failures=keeps_failures).clean()
    except OSError as error:
        raise OutputError.of(out, error) from error


def check_configuration(out: Path, config_hash: str, differences: Callable[[], str]) -> None:
    """Raise an error if parts in an output folder were written with another configuration.

    Parameters
    ----------
    differences
        Called if they differ; returns the differences in words, as far as they are known.

    Raises
    ------
    ConfigMismatchError
        Results of two configurations would be mixed.
    """
    for table in (RESULTS, OBJECTS):
        if any(metadata_of(part).get("bsbatch.config_hash") != config_hash for part in parts_in(out / table)):
            raise ConfigMismatchError(
                f"{out} holds results of another configuration "
                f"({differences() or 'model, threshold, precision or selection differ'}): "
                "take the settings of that run, or another --out; --fresh would delete its rows"
            )


class _Tables:
    """Both tables of a folder; a row of ``objects`` stays or goes with all rows of its examination."""

    def __init__(self, out: Path, present: dict[int, int], *, keeps_failures: bool) -> None:
        self._objects, self._results = out / OBJECTS, out / RESULTS
        self._present, self._keeps_failures = present, keeps_failures
        self._committed = {row["exam_id"] for row in all_rows(self._results, ["exam_id"])}
        unsound = [(row["exam_id"], study_of(row)) for row in self._object_rows() if not self._is_sound(row)]
        self._reopened = {exam for exam, _ in unsound}
        self._reopened_studies = DigestSet(study for _, study in unsound)
        self._catalog = Catalog(retried=self._reopened & self._committed)

    def clean(self) -> Catalog:
        """Remove the rows to process again; return a catalog of the rest."""
        catalog = self._catalog
        staying = {row["exam_id"] for row in self._object_rows() if row["exam_id"] is not None and self._stays(row)}
        for folder in (self._results, self._objects):
            remove_leftovers(folder)
        # results first: a kill in between leaves objects without results, and the next run removes those
        for part in parts_in(self._results):
            keep_rows(part, lambda row: row["exam_id"] in staying, ["exam_id"])
        for part in parts_in(self._objects):
            keep_rows(part, self._stays, _COLUMNS)
        for row in filter(is_of_study, self._object_rows()):
            catalog.studies.add(study_of(row))
        catalog.settled = np.sort(np.array([_row_fingerprint(row) for row in self._object_rows()], np.uint64))
        return catalog

    def _object_rows(self) -> Iterator[Row]:
        return all_rows(self._objects, _COLUMNS)

    def _is_sound(self, row: Row) -> bool:
        """Return True unless the row failed, its object changed or its examination has no result.

        An object that is gone from the disk counts as unchanged.
        """
        if row["status"] == Status.FAILED and not self._keeps_failures:
            return False
        if row["exam_id"] is not None and row["exam_id"] not in self._committed:
            return False
        return self._present.get(digest(row["source"]), _row_fingerprint(row)) == _row_fingerprint(row)

    def _stays(self, row: Row) -> bool:
        if row["exam_id"] is not None:
            return row["exam_id"] not in self._reopened
        is_kept = row["reason"] not in OF_STUDY or study_of(row) not in self._reopened_studies
        return is_kept and self._is_sound(row)


def _fingerprints(refs: Iterable[ObjectRef]) -> dict[int, int]:
    return {digest(ref.source): _fingerprint(ref.source, ref.size, ref.version) for ref in refs}


def _row_fingerprint(row: Row) -> int:
    return _fingerprint(row["source"], row["size"], row["version"])


def _fingerprint(source: str, size: int | None, version: str) -> int:
    return digest(source, str(size), version)
