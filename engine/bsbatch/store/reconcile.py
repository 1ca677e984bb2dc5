"""The check at the end: what lies in the two tables, read back and added up."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from bsbatch.errors import OutputError
from bsbatch.identity import digest
from bsbatch.reasons import Status
from bsbatch.store.flow import Flow
from bsbatch.store.parts import all_rows
from bsbatch.store.tables import OBJECTS, OK, RESULTS


def reconcile(out: Path, seen: int, *, is_complete: bool) -> Flow:
    """Add up the committed rows and hold them against what was seen.

    Parameters
    ----------
    out
        The output folder.
    seen
        Objects that the source listed.
    is_complete
        Whether the run came to the end of the archive.

    Raises
    ------
    OutputError
        A row is missing, there twice, or belongs to nothing: the tables were changed by something else than bsbatch.
    """
    flow = Flow(seen=seen)
    used, scored = _read_objects(out, flow), _read_results(out, flow)
    rows = flow.objects.total()
    if is_complete and rows < seen:
        raise _broken(out, f"{seen} objects were seen and {rows} have a row")
    if not np.array_equal(used, scored):
        raise _broken(out, "used objects and scored examinations do not belong together")
    if is_complete:
        flow.gone = rows - seen
    else:
        flow.pending = max(0, seen - rows)
    return flow


def add_up(out: Path) -> Flow:
    """Count the rows of a run that may not have come to its end: `reconcile` checks them besides.

    Raises
    ------
    OutputError
        A row is there twice, or a part cannot be read.
    """
    flow = Flow()
    _read_objects(out, flow)
    _read_results(out, flow)
    flow.seen = flow.objects.total()
    return flow


def _read_objects(out: Path, flow: Flow) -> Any:
    """Digests of the examinations that used objects belong to, each once."""
    sources, used = array("Q"), array("Q")
    for row in all_rows(out / OBJECTS, ["source", "status", "reason", "exam_id"]):
        flow.count_object(row["status"], row["reason"])
        sources.append(digest(row["source"]))
        if row["status"] == Status.USED:
            used.append(digest(row["exam_id"]))
    _check_unique(out, sources, "objects")
    return np.unique(np.array(used, np.uint64))


def _read_results(out: Path, flow: Flow) -> Any:
    """Digests of the scored examinations, sorted."""
    exams, scored = array("Q"), array("Q")
    for row in all_rows(out / RESULTS, ["exam_id", "status", "reason", "predicted"]):
        flow.count_examination(row["status"], row["reason"])
        flow.positive += row["predicted"] == 1
        exams.append(digest(row["exam_id"]))
        if row["status"] == OK:
            scored.append(exams[-1])
    _check_unique(out, exams, "examinations")
    return np.sort(np.array(scored, np.uint64))


def _check_unique(out: Path, digests: "array[int]", what: str) -> None:
    ordered = np.frombuffer(digests, np.uint64)  # no copy: an archive may hold millions
    ordered.sort()
    repeated = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
    if repeated:
        raise _broken(out, f"{repeated} {what} have more than one row")


def _broken(out: Path, what: str) -> OutputError:
    return OutputError(
        f"the tables in {out} do not add up: {what}. Keep them for a bug report and run again with --fresh"
    )
