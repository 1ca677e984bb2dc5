"""The examinations of a run, as far as a page shows them: no UID, no path, no free text.

Accession Number and study date only of a run with ``--identify``.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bsbatch.store.parts import metadata_of, parts_in, read_rows
from bsbatch.store.tables import OK, RESULTS, Row

_COLUMNS = [
    "exam_id",
    "status",
    "reason",
    "p_metastasis",
    "predicted",
    "threshold",
    "manufacturer",
    "model_name",
    "view_evidence",
    "qc_flags",
    "qc_counts_anterior",
    "qc_counts_posterior",
]
_CAM_WARNINGS = "cam_warning"
_IDENTITY = ["accession_number", "study_date"]


@dataclass(frozen=True, slots=True)
class ExaminationRow:
    """One examination."""

    exam_id: str
    score: float | None
    """Score for metastasis in [0, 1]; None for a failed examination."""
    is_positive: bool
    """True if predicted positive."""
    threshold: float | None
    reason: str | None
    """Reason code of a failure."""
    camera: str
    """(0008,0070) Manufacturer and (0008,1090) Manufacturer's Model Name."""
    evidence: str
    """Origin of the names of the views."""
    flags: tuple[str, ...]
    """Names of `bsbatch.imaging.quality.Flag`."""
    map_warnings: tuple[str, ...]
    """Names of `bsbatch.imaging.gradcam.CamWarning`."""
    kilocounts: tuple[float | None, float | None]
    """Anterior and posterior."""
    accession: str = ""
    """(0008,0050) Accession Number; empty without ``--identify``."""
    date: str = ""
    """(0008,0020) Study Date, YYYY-MM-DD; empty without ``--identify``."""


def read_examinations(out: Path) -> tuple[ExaminationRow, ...]:
    """Read all examinations of a run: scored ones by falling score, then failed ones.

    Raises
    ------
    OutputError
        A part cannot be read.
    """
    rows = (_examination_row(row) for part in parts_in(out / RESULTS) for row in read_rows(part, _columns_of(part)))
    return tuple(sorted(rows, key=lambda item: (item.score is None, -(item.score or 0.0), item.exam_id)))


def count_names(names: Iterable[tuple[str, ...]]) -> tuple[tuple[str, int], ...]:
    """Count each name, the most frequent first."""
    counts = Counter(name for item in names for name in item)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _columns_of(part: Path) -> list[str]:
    described = json.loads(metadata_of(part).get("bsbatch.columns", "{}"))
    return [*_COLUMNS, *(name for name in (_CAM_WARNINGS, *_IDENTITY) if name in described)]


def _examination_row(row: Row) -> ExaminationRow:
    is_scored = row["status"] == OK
    return ExaminationRow(
        row["exam_id"],
        row["p_metastasis"] if is_scored else None,
        row["predicted"] == 1,
        row["threshold"],
        None if is_scored else row["reason"] or row["status"],
        " ".join(filter(None, (row["manufacturer"], row["model_name"]))),
        row["view_evidence"] or "",
        tuple(row["qc_flags"] or ()),
        tuple(row.get(_CAM_WARNINGS) or ()),
        (_kilo(row["qc_counts_anterior"]), _kilo(row["qc_counts_posterior"])),
        row.get("accession_number") or "",
        _date(row.get("study_date") or ""),
    )


def _date(text: str) -> str:
    """Write YYYYMMDD as YYYY-MM-DD, and anything else as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == len("YYYYMMDD") else text


def _kilo(counts: float | None) -> float | None:
    return None if counts is None else round(counts / 1000, 1)
