"""The ``results`` table of a run, as far as an evaluation needs it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import OutputError, UsageError
from bsbatch.evaluation.segmentation import ViewFrame, Views
from bsbatch.geometry import CAM_SHAPE
from bsbatch.reasons import Status
from bsbatch.store.folder import read_run_file
from bsbatch.store.parts import all_rows, metadata_of, parts_in
from bsbatch.store.tables import OBJECTS, OK, RESULTS, Row

_COLUMNS = [
    "exam_id",
    "study_uid",
    "patient_key",
    "status",
    "reason",
    "p_metastasis",
    "logit",
    "distance",
    "qc_flags",
    "threshold",
    "manufacturer",
    "patient_sex",
    "age_band",
    "model_id",
    "config_hash",
]
_MAP = "cam_map"
_UNLIKE_TRAINING = "unlike_training"

RunFile = Mapping[str, Any]
"""Content of ``run.json``: plain JSON values."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One examination."""

    exam_id: str
    study_uid: str | None
    score: float | None
    """Score for metastasis in [0, 1], None for a failed examination."""
    reason: str | None
    """Reason code of a failure."""
    manufacturer: str | None
    patient_key: str | None
    """None if the archive has no Patient ID, or the run is of schema version 2."""
    logit: float | None = None
    """Log odds of the score, not rounded; None before schema version 5."""
    is_unlike_training: bool | None = None
    """True if it resembles nothing that the model was trained on; None if the model has no statistics of that."""
    sex: str | None = None
    age_band: str | None = None
    """None before schema version 6."""


@dataclass(frozen=True, slots=True)
class Run:
    """The run that wrote the results."""

    model_id: str | None
    config_hash: str
    threshold: float
    """Operating point of the run, in [0, 1]."""
    status: str | None
    """Final status in ``run.json``; None without that file."""
    is_pseudonymised: bool
    """True if UIDs were replaced by keyed hashes."""


@dataclass(frozen=True, slots=True)
class Results:
    """Results of one run."""

    examinations: tuple[ResultRow, ...]
    """Sorted by `exam_id`."""
    run: Run


def out_of(results: Path) -> Path:
    """Output folder of a run, from that folder or the ``results`` folder in it."""
    return results.resolve().parent if not (results / RESULTS).is_dir() and parts_in(results) else results


def read_results(results: Path) -> Results:
    """Read the results of one run, sorted by ``exam_id``.

    Parameters
    ----------
    results
        Output folder of a run, or its ``results`` folder.

    Raises
    ------
    UsageError
        There are none, they cannot be read, or they are of several configurations.
    """
    out = out_of(results)
    try:
        _check_parts(results, out)
        rows = sorted(all_rows(out / RESULTS, _COLUMNS), key=lambda row: row["exam_id"])
    except OutputError as error:
        raise UsageError(str(error)) from error
    return Results(tuple(map(_result_row, rows)), _run(results, rows, read_run_file(out)))


def read_maps(results: Path) -> dict[str, tuple[bool, NDArray[np.float32] | None]]:
    """Read, for each ``exam_id``, whether it was predicted positive and its heat map: ``(32, 32)``, None without one.

    Raises
    ------
    UsageError
        The run made no heat maps.
    """
    folder = out_of(results) / RESULTS
    if not any(_MAP in metadata_of(part).get("bsbatch.columns", "") for part in parts_in(folder)):
        raise UsageError(f"{results} holds no heat maps: run with --cam positive or --cam all into another --out")
    rows = all_rows(folder, ["exam_id", "predicted", _MAP])
    return {row["exam_id"]: (row["predicted"] == 1, _cells(row[_MAP])) for row in rows}


def read_views(results: Path) -> dict[str, Views]:
    """Read the frames of the two views of each ``exam_id``; examinations without one of them are left out."""
    names = [f"{column}_{view}" for view in ("anterior", "posterior") for column in ("sop_uid", "frame")]
    rows = all_rows(out_of(results) / RESULTS, ["exam_id", *names])
    return {
        row["exam_id"]: (ViewFrame(*(row[name] for name in names[:2])), ViewFrame(*(row[name] for name in names[2:])))
        for row in rows
        if None not in [row[name] for name in names]
    }


def _cells(values: list[float] | None) -> NDArray[np.float32] | None:
    return None if values is None else np.asarray(values, np.float32).reshape(CAM_SHAPE)


def lies_in_tables(folder: Path, results: Path) -> bool:
    """True if a folder is, or lies in, a table of a run, where its files would be read as parts."""
    tables = [(out_of(results) / name).resolve() for name in (RESULTS, OBJECTS)]
    return any(folder.resolve().is_relative_to(table) for table in tables)


def _check_parts(results: Path, out: Path) -> None:
    parts = parts_in(out / RESULTS)
    if not parts:
        raise UsageError(f"{results} holds no results: give the --out folder of bsbatch run, or its results folder")
    for path in parts:
        if metadata_of(path).get("bsbatch.table") != RESULTS:
            raise UsageError(f"{path} was not written by bsbatch run: give the --out folder of a run")


def _result_row(row: Row) -> ResultRow:
    is_scored = row["status"] == OK
    flags = row.get("qc_flags") or ()
    return ResultRow(
        row["exam_id"],
        row["study_uid"],
        row["p_metastasis"] if is_scored else None,
        None if is_scored else row["reason"] or str(Status.FAILED),
        row["manufacturer"],
        row.get("patient_key"),
        row.get("logit") if is_scored else None,
        None if row.get("distance") is None else _UNLIKE_TRAINING in flags,
        row.get("patient_sex"),
        row.get("age_band"),
    )


def _run(results: Path, rows: Iterable[Row], run_file: RunFile) -> Run:
    configurations = {(row["model_id"], row["config_hash"], row["threshold"]) for row in rows}
    if not configurations:
        raise UsageError(f"{results} holds no examination: the run found no whole-body bone scan")
    if len(configurations) > 1:
        raise UsageError(
            f"{results} holds results of {len(configurations)} configurations: evaluate each run by itself"
        )
    model_id, config_hash, threshold = configurations.pop()
    config = run_file.get("config", {})
    return Run(model_id, config_hash, threshold, run_file.get("status"), bool(config.get("pseudonymised")))
