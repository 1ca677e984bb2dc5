"""The rows of a worklist: which examinations a reader sees, and in which order."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from bsbatch.cohort.cells import dates_of
from bsbatch.cohort.joining import Joined
from bsbatch.cohort.settings import Rank, Worklist
from bsbatch.notice import show_score
from bsbatch.store.folder import overlays_of
from bsbatch.store.tables import OK

Record = dict[str, Any]
_NAMED = (
    "patient_id",
    "accession_number",
    "study_date",
    "patient_age",
    "patient_sex",
    "requesting_service",
    "study_uid",
)
_UNNAMED = ("study_uid", "acquisition_date", "age_band", "patient_sex")
"""Columns that identify an examination, with and without ``--identify``."""
_CERTAIN = 1e-7


class Item(NamedTuple):
    """One examination of a worklist."""

    cells: Mapping[str, str | int | None]
    """Values by heading; texts and whole numbers."""
    overlay: Path | None
    """Drawing of its heat map; None without one."""


def rank(results: pa.Table, out: Path, settings: Worklist, joined: Joined | None) -> list[Item]:
    """Return the examinations that a reader should see first.

    Parameters
    ----------
    results
        Rows of ``results``.
    out
        Output folder of the run, which may hold overlays.
    settings
        Decide which examinations are listed, and their order; equal ones by ``exam_id``.
    joined
        Labels; None without any.
    """
    labels = None if joined is None else {row.study_uid: row.is_positive for row in joined.rows}
    columns = [name for name in results.column_names if name != "cam_map"]
    rows: list[Record] = [row for row in results.select(columns).to_pylist() if row["status"] == OK]
    for row in rows:
        row["label"] = None if labels is None else labels.get(row["study_uid"])
    is_listed, key = _FILTERS[settings.rank], _KEYS[settings.rank]
    chosen = sorted(filter(is_listed, rows), key=lambda row: (key(row), row["exam_id"]))[: settings.limit]
    overlays = overlays_of(out)
    return [
        Item(_cells(number, row, has_labels=labels is not None), overlays.get(row["exam_id"]))
        for number, row in enumerate(chosen, 1)
    ]


def _is_contradicted(row: Record) -> bool:
    return row["label"] is not None and row["label"] != bool(row["predicted"])


_FILTERS: dict[Rank, Callable[[Record], bool]] = {
    Rank.SCORE: lambda row: row["predicted"] == 1,
    Rank.UNCERTAINTY: lambda _row: True,
    Rank.DISAGREEMENT: _is_contradicted,
}
_KEYS: dict[Rank, Callable[[Record], float]] = {
    Rank.SCORE: lambda row: -row["p_metastasis"],
    Rank.UNCERTAINTY: lambda row: abs(_logit(row["p_metastasis"]) - _logit(row["threshold"])),
    Rank.DISAGREEMENT: lambda row: -abs(row["p_metastasis"] - row["label"]),
}


def _logit(share: float) -> float:
    inside = min(max(share, _CERTAIN), 1 - _CERTAIN)
    return math.log(inside / (1 - inside))


def _shown(name: str, value: str | int | None) -> str | int | None:
    """Return a value for a reader: dates as YYYY-MM-DD."""
    if not name.endswith("_date") or not isinstance(value, str):
        return value
    (day,) = dates_of([value])
    return value if day is None else str(day)


def _cells(number: int, row: Record, *, has_labels: bool) -> dict[str, str | int | None]:
    names = _NAMED if "patient_id" in row else _UNNAMED
    label = {None: "", True: "positive", False: "negative"}[row["label"]]
    return {
        "rank": number,
        **{name.replace("_", " "): _shown(name, row.get(name)) for name in names},
        "score": show_score(row["p_metastasis"]),
        "predicted": ("negative", "positive")[row["predicted"]],
        **({"label": label} if has_labels else {}),
        "flags": "; ".join([*(row["qc_flags"] or ()), *(row.get("cam_warning") or ())]),
        "tracer": " ".join(filter(None, (row.get("radionuclide"), row.get("radiopharmaceutical")))),
        "path": row["source_anterior"],
        "exam_id": row["exam_id"],
    }
