"""The tables of several runs over disjoint parts of an archive, made into those of one folder.

Sources become relative to the folder that the parts have in common. A study with objects in several runs was decided
by each of them without the others. Pairs and copies may be wrong then, so all of its rows fail as ``split_study``.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bsbatch.config import is_url
from bsbatch.errors import OutputError, UsageError
from bsbatch.identity import DigestSet, digest
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.store.committed import COLUMNS, is_of_study, study_of
from bsbatch.store.parts import all_rows, parts_in, read_part, remove_leftovers, write_part
from bsbatch.store.tables import CAM_COLUMNS, OBJECTS, RESULTS

_SOURCES = frozenset({"source", "source_anterior", "source_posterior"})
_SPLIT = Verdict.of(Stage.PAIRING, Reason.SPLIT_STUDY)
_NO_SCORE = ("p_metastasis", "logit", "distance", "predicted", "qc_flags", *(column.name for column in CAM_COLUMNS))
_OUTCOME: dict[str, str | None] = {
    "status": str(_SPLIT.status),
    "stage": str(_SPLIT.stage),
    "reason": str(_SPLIT.reason),
    "message": _SPLIT.message,
    **dict.fromkeys(_NO_SCORE),
}
"""Values of the rows of a split study, of both tables."""


@dataclass(frozen=True, slots=True)
class Member:
    """A finished run that is merged with others."""

    out: Path
    """Its output folder."""
    prefix: str
    """Path from the common folder to its archive, ending with a slash; empty if they are the same."""


def find_common(archives: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the folder that archives have in common, and the `Member.prefix` of each.

    Parameters
    ----------
    archives
        As ``run.json`` names them: absolute paths, addresses of buckets, or keyed hashes. The folder is empty if they
        have none in common; the prefixes are then their whole names.
    """
    names = [_parts(archive) for archive in archives]
    common = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))]
    prefixes = ("/".join([*name[len(common) :], ""]) for name in names)
    return "/".join(common) or "/" * len(common), tuple(prefixes)


def _parts(archive: str) -> list[str]:
    """Split the name of an archive at its slashes. Scheme and bucket are one part; a file counts as its folder."""
    if not archive:
        return []
    scheme, separator, path = archive.partition("://") if is_url(archive) else ("", "", archive)
    folder = path if separator or not Path(path).is_file() else str(Path(path).parent)
    first, *others = folder.rstrip("/").split("/")
    return [f"{scheme}{separator}{first}", *others]


def find_split_studies(members: Iterable[Member]) -> DigestSet:
    """Return the keys of the studies with objects in several runs; not of those that all of these runs left out.

    Raises
    ------
    OutputError
        A part cannot be read.
    UsageError
        Objects have rows in several runs.
    """
    sources, decided, studies = array("Q"), array("Q"), list[NDArray[np.uint64]]()
    for member in members:
        own = array("Q")
        for row in all_rows(member.out / OBJECTS, COLUMNS):
            sources.append(digest(member.prefix + row["source"]))
            if is_of_study(row):
                own.append(study_of(row))
                if row["reason"] != Reason.NOT_SELECTED:
                    decided.append(own[-1])
        studies.append(np.unique(np.array(own, np.uint64)))
    _check_disjoint(sources)
    split = _repeated(np.concatenate(studies))
    return DigestSet(np.intersect1d(split, np.array(decided, np.uint64)).tolist())


def _check_disjoint(sources: "array[int]") -> None:
    repeated = len(_repeated(np.frombuffer(sources, np.uint64)))
    if repeated:
        raise UsageError(
            f"{repeated} objects have rows in several of the folders: merge runs over parts of the archive that are "
            "disjoint, and leave out the run over a part that another run has, too"
        )


def _repeated(digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the digests that are there more than once; sorts them in place, since there may be 100 million."""
    digests.sort()
    return np.unique(digests[1:][digests[1:] == digests[:-1]])


class TableCopier:
    """Copies the tables of runs into one folder, part by part."""

    def __init__(self, out: Path, config_hash: str, split: DigestSet) -> None:
        """Begin.

        Parameters
        ----------
        out
            Folder of the merged tables, without rows.
        config_hash
            That of all parts.
        split
            Keys of the studies whose rows fail.
        """
        self._out, self._hash, self._split = out, config_hash, split
        self._exams, self._copied = DigestSet(), DigestSet()
        self.repeated = 0
        """Rows of ``results`` left out: of examinations of split studies that another run has, too."""

    def copy(self, members: Sequence[Member]) -> None:
        """Copy the rows of ``objects``, then those of ``results``.

        Raises
        ------
        OutputError
            A part cannot be read or is of another configuration, or the folder cannot be written to.
        """
        for table, fail in ((OBJECTS, self._fail_objects), (RESULTS, self._fail_results)):
            parts = [(member, part) for member in members for part in parts_in(member.out / table)]
            try:
                (self._out / table).mkdir(exist_ok=True)
                remove_leftovers(self._out / table)
                for number, (member, part) in enumerate(parts):
                    write_part(self._out / table, number, _rename(fail(self._read(part)), member.prefix))
            except OSError as error:
                raise OutputError.of(self._out, error) from error

    def _read(self, part: Path) -> pa.Table:
        rows = read_part(part)
        if rows.schema.metadata[b"bsbatch.config_hash"].decode() != self._hash:
            raise OutputError(f"{part} is of another configuration than its run.json: screen again with --fresh")
        return rows

    def _fail_objects(self, rows: pa.Table) -> pa.Table:
        """Fail the objects of split studies, and note their examinations."""
        found = rows.select(COLUMNS).to_pylist() if len(self._split) else []
        is_split = [is_of_study(row) and study_of(row) in self._split for row in found]
        for row, is_of_split in zip(found, is_split, strict=True):
            if is_of_split and row["exam_id"] is not None:
                self._exams.add(digest(row["exam_id"]))
        return _fail(rows, is_split)

    def _fail_results(self, rows: pa.Table) -> pa.Table:
        """Fail the examinations of split studies; one that several runs have gets one row."""
        if not len(self._exams):
            return rows
        exams = [digest(exam) for exam in rows["exam_id"].to_pylist()]
        is_kept = [exam not in self._copied for exam in exams]
        rows = _fail(rows, [exam in self._exams for exam in exams])
        for exam in filter(self._exams.__contains__, exams):
            self._copied.add(exam)
        self.repeated += is_kept.count(False)
        return rows.filter(pa.array(is_kept, pa.bool_()))


def _fail(rows: pa.Table, is_split: Sequence[bool]) -> pa.Table:
    """Give rows the outcome ``split_study``."""
    if not any(is_split):
        return rows
    mask = pa.array(is_split, pa.bool_())
    for name in filter(_OUTCOME.__contains__, rows.column_names):
        field = rows.schema.field(name)
        column = pc.if_else(mask, pa.scalar(_OUTCOME[name], field.type), rows[name])
        rows = rows.set_column(rows.column_names.index(name), field, column)
    return rows


def _rename(rows: pa.Table, prefix: str) -> pa.Table:
    """Put a path before the sources."""
    for name in filter(_SOURCES.__contains__, rows.column_names) if prefix else ():
        column = pc.binary_join_element_wise(prefix, rows[name], "")
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), column)
    return rows
