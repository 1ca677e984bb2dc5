"""What an output folder holds already: the base of resuming, and of the check at the end.

Nothing else is written down to be compared with it. Rows of objects that were used or skipped, and have not changed
on the disk since, are settled and are not opened again. Failed ones are tried again, because their cause may be gone
(a missing decoder, a partner that arrives); so is every object of an examination one of whose objects has changed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bsbatch.dicom.reasons import Stage, Status
from bsbatch.errors import ConfigMismatchError, OutputError
from bsbatch.identity import acquisition_key, digest
from bsbatch.records import ObjectRef
from bsbatch.tables import OBJECTS, RESULTS, Row, parts_in

_FATE = ["source", "size", "mtime_ns", "status", "stage", "reason", "exam_id"]
_IDENTITY = ["sop_uid", "study_uid", "series_uid", "acquisition_date", "acquisition_time"]


@dataclass(slots=True)
class Catalog:
    """The committed rows, as far as a run must know them."""

    settled: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """Sorted digests of source, size and mtime."""
    seen: set[int] = field(default_factory=set)
    """Digests of the SOP Instance UIDs of used objects that are settled."""
    closed: set[int] = field(default_factory=set)
    """Acquisition keys of used objects that are settled."""
    scored: set[str] = field(default_factory=set)
    """Examinations with a score."""
    obsolete: list[str] = field(default_factory=list)
    """Sources that stood for a folder which could not be listed, and now can."""
    _open: dict[str, tuple[str, Row]] = field(default_factory=dict)
    """Source -> (part, row) of the rows that this run may replace."""
    _failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Examination -> (part, reason), of the failed ones."""

    @classmethod
    def load(cls, out: Path, refs: Iterable[ObjectRef]) -> "Catalog":
        """Read the tables of an output folder.

        Parameters
        ----------
        out
            May be empty or not there.
        refs
            The objects as they lie on the disk now; walked only when there is something to compare with.

        Raises
        ------
        OutputError
            A part cannot be read.
        """
        catalog = cls()
        if not parts_in(out / OBJECTS) and not parts_in(out / RESULTS):
            return catalog
        catalog._load_results(out / RESULTS)
        catalog._load_objects(out / OBJECTS, _fingerprints(refs))
        return catalog

    def is_settled(self, ref: ObjectRef) -> bool:
        """Whether the object has a row that stays."""
        key = np.uint64(_fingerprint(ref.source, ref.size, ref.mtime_ns))
        index = int(np.searchsorted(self.settled, key))
        return index < len(self.settled) and bool(self.settled[index] == key)

    def open_part(self, source: str) -> str | None:
        """The part that holds a row which a new one of this source replaces."""
        return self._open[source][0] if source in self._open else None

    def has_object(self, row: Row) -> bool:
        """Whether the very same row is committed: a failed object that was tried again and failed again."""
        if row["source"] not in self._open:
            return False
        old = self._open[row["source"]][1]
        return all(old[name] == row.get(name) for name in _FATE)

    def has_result(self, row: Row) -> bool:
        """Whether the examination's row is committed with the same outcome."""
        exam_id = row["exam_id"]
        if row["status"] == Status.FAILED:
            return exam_id in self._failed and self._failed[exam_id][1] == row["reason"]
        return exam_id in self.scored

    def failed_part(self, exam_id: str) -> str | None:
        """The part that holds the failed row which a new one of this examination replaces."""
        return self._failed[exam_id][0] if exam_id in self._failed else None

    def _load_results(self, folder: Path) -> None:
        for path in parts_in(folder):
            for row in _part_rows(path, ["exam_id", "status", "reason"]):
                if row["status"] == Status.FAILED:
                    self._failed[row["exam_id"]] = (path.name, row["reason"])
                else:
                    self.scored.add(row["exam_id"])

    def _load_objects(self, folder: Path, present: dict[int, int]) -> None:
        reopened = self._reopened_exams(folder, present)
        settled: list[int] = []
        for path in parts_in(folder):
            for row in _part_rows(path, _FATE + _IDENTITY):
                if _is_open(row, present) or row["exam_id"] in reopened:
                    self._open[row["source"]] = (path.name, {name: row[name] for name in _FATE})
                    if row["stage"] == Stage.LIST and digest(row["source"]) not in present:
                        self.obsolete.append(row["source"])
                else:
                    settled.append(_fingerprint(row["source"], row["size"], row["mtime_ns"]))
                    self._remember_used(row)
        self.settled = np.sort(np.array(settled, np.uint64))
        self.scored -= reopened

    @staticmethod
    def _reopened_exams(folder: Path, present: dict[int, int]) -> set[str]:
        rows = _rows(folder, _FATE)
        return {row["exam_id"] for row in rows if row["exam_id"] is not None and _is_open(row, present)}

    def _remember_used(self, row: Row) -> None:
        if row["status"] == Status.USED:
            if row["sop_uid"] is not None:
                self.seen.add(digest(row["sop_uid"]))
            key = acquisition_key(*(row[name] for name in _IDENTITY[1:]))
            self.closed |= {key} if key is not None else set()


def check_configuration(out: Path, config_hash: str) -> None:
    """Refuse an output folder whose parts were written under another configuration.

    Raises
    ------
    ConfigMismatchError
        Results of two configurations would be mixed.
    """
    for table in (RESULTS, OBJECTS):
        for path in parts_in(out / table):
            found = (_read(pq.read_schema, path).metadata or {}).get(b"bsbatch.config_hash", b"").decode()
            if found != config_hash:
                raise ConfigMismatchError(
                    f"{out} holds results of another configuration (model, threshold, precision or selection differ): "
                    "choose another --out, or add --fresh to delete them and start again"
                )


def committed(out: Path, table: str, columns: list[str]) -> Iterator[Row]:
    """The committed rows of a table, some of their columns."""
    return _rows(out / table, columns)


def _is_open(row: Row, present: dict[int, int]) -> bool:
    """Failed, or changed since; an object that is gone keeps its row."""
    if row["status"] == Status.FAILED:
        return True
    now = present.get(digest(row["source"]))
    return now is not None and now != _fingerprint(row["source"], row["size"], row["mtime_ns"])


def _fingerprints(refs: Iterable[ObjectRef]) -> dict[int, int]:
    return {digest(ref.source): _fingerprint(ref.source, ref.size, ref.mtime_ns) for ref in refs}


def _fingerprint(source: str, size: int, mtime_ns: int) -> int:
    return digest(source, str(size), str(mtime_ns))


def _rows(folder: Path, columns: list[str]) -> Iterator[Row]:
    for path in parts_in(folder):
        yield from _part_rows(path, columns)


def _part_rows(path: Path, columns: list[str]) -> list[Row]:
    rows: list[Row] = _read(lambda part: pq.read_table(part, columns=columns), path).to_pylist()
    return rows


def _read(reader: Any, path: Path) -> Any:
    try:
        return reader(path)
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise OutputError(f"{path} cannot be read: delete it to have its examinations done again") from error
