"""The check at the end of a run: read both tables back and compare their totals."""

from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import OutputError
from bsbatch.identity import digest
from bsbatch.reasons import Status
from bsbatch.store.flow import Flow
from bsbatch.store.parts import all_rows
from bsbatch.store.tables import OBJECTS, OK, RESULTS, UNLIKE_TRAINING


def reconcile(out: Path, seen: int, *, is_complete: bool) -> Flow:
    """Count the committed rows and compare them with the number of listed objects.

    Parameters
    ----------
    out
        The output folder.
    seen
        Number of objects that the source listed.
    is_complete
        True if the run reached the end of the archive.

    Raises
    ------
    OutputError
        A row is missing, duplicate or without its counterpart: the tables were changed by another program.
    """
    flow = Flow(seen=seen)
    used, scored = _read_objects(out, flow), _read_results(out, flow)
    rows = flow.objects.total()
    if is_complete and rows < seen:
        raise _mismatch(out, f"{seen} objects were seen and {rows} have a row")
    if not np.array_equal(used, scored):
        raise _mismatch(out, "used objects and scored examinations do not belong together")
    if is_complete:
        flow.gone = rows - seen
    else:
        flow.pending = max(0, seen - rows)
    return flow


def add_up(out: Path) -> Flow:
    """Count the rows of a run that may be unfinished, with fewer checks than `reconcile`.

    Raises
    ------
    OutputError
        A row is duplicate, or a part cannot be read.
    """
    flow = Flow()
    _read_objects(out, flow)
    _read_results(out, flow)
    flow.seen = flow.objects.total()
    return flow


def _read_objects(out: Path, flow: Flow) -> NDArray[np.uint64]:
    """Count the rows of ``objects``; return sorted digests of the examinations of used objects, each once."""
    sources, used = array("Q"), array("Q")
    for row in all_rows(out / OBJECTS, ["source", "status", "reason", "exam_id"]):
        flow.count_object(row["status"], row["reason"])
        sources.append(digest(row["source"]))
        if row["status"] == Status.USED:
            used.append(digest(row["exam_id"]))
    _check_unique(out, sources, "objects")
    return np.unique(np.array(used, np.uint64))


def _read_results(out: Path, flow: Flow) -> NDArray[np.uint64]:
    """Count the rows of ``results``; return sorted digests of the scored examinations."""
    exams, scored = array("Q"), array("Q")
    for row in all_rows(out / RESULTS, ["exam_id", "status", "reason", "predicted", "qc_flags"]):
        flow.count_examination(row["status"], row["reason"])
        flow.positive += row["predicted"] == 1
        flow.unlike += UNLIKE_TRAINING in (row["qc_flags"] or ())
        exams.append(digest(row["exam_id"]))
        if row["status"] == OK:
            scored.append(exams[-1])
    _check_unique(out, exams, "examinations")
    return np.sort(np.array(scored, np.uint64))


def _check_unique(out: Path, digests: "array[int]", what: str) -> None:
    ordered = np.frombuffer(digests, np.uint64)  # without a copy, for archives of millions of objects
    ordered.sort()
    repeated = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
    if repeated:
        raise _mismatch(out, f"{repeated} {what} have more than one row")


def _mismatch(out: Path, what: str) -> OutputError:
    return OutputError(
        f"the tables in {out} do not add up: {what}. Keep them for a bug report and run again with --fresh"
    )
