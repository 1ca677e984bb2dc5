"""Selects a cohort among the examinations of finished runs: filter, best of repeats, one per patient, random sample."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bsbatch.cohort.cells import dates_of
from bsbatch.cohort.filtering import matching
from bsbatch.errors import UsageError
from bsbatch.store.tables import OK

REASON = "selected_because"
"""Column of a selection: why an examination was chosen among several."""
UNKNOWN = "unknown"
"""Stratum of rows without a value."""

Rows = list[dict[str, Any]]


class Pick(StrEnum):
    """The examination of each patient that is kept."""

    LATEST = "latest"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Selecting:
    """Settings of a selection; its steps are taken in this order."""

    where: str | None = None
    """Expression in SQL over the columns of ``results``."""
    one_per_study: bool = False
    """Keep the best examination of each study: the fewest quality flags, then the most counts."""
    per_patient: Pick | None = None
    sample: int | None = None
    """Number of examinations to draw."""
    seed: int = 0
    stratify: str | None = None
    """Column whose values have their shares in the sample."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.sample is not None and self.sample < 1:
            raise UsageError("--sample must be at least 1")
        if self.seed < 0:
            raise UsageError("--seed must not be negative")
        if self.stratify is not None and self.sample is None:
            raise UsageError("--stratify needs --sample: the number of examinations to draw")


class Step(NamedTuple):
    """One step, for people."""

    left: int
    """Examinations that are left."""
    words: str


class Selected(NamedTuple):
    """A cohort."""

    table: pa.Table
    """Rows of ``results``, sorted by ``exam_id``, with the column `REASON`."""
    steps: tuple[Step, ...]


def select(results: pa.Table, settings: Selecting) -> Selected:
    """Select examinations.

    Raises
    ------
    UsageError
        The expression cannot be used, a column is missing, or fewer examinations are left than are to be drawn.
    """
    steps = [Step(results.num_rows, "examinations in the results")]
    if settings.where is not None:
        results = matching(results, settings.where)
        steps.append(Step(results.num_rows, f"for which {settings.where}"))
    columns = [name for name in _NEEDED if name in results.column_names]
    rows: Rows = results.select(columns).append_column(_AT, pa.array(range(results.num_rows))).to_pylist()
    if settings.one_per_study or settings.per_patient:
        rows = _keep(rows, lambda row: row["status"] == OK, "scored", steps)
    if settings.one_per_study:
        rows = _best([row for row in rows if row["study_uid"]], "study_uid", "study")
        steps.append(Step(len(rows), "the best one of each study: fewest quality flags, then most counts"))
    if settings.per_patient:
        days = dates_of([row["acquisition_date"] or "" for row in rows])
        rows = [row | {_DAY: day} for row, day in zip(rows, days, strict=True)]
        rows = _keep(rows, lambda row: bool(row["patient_key"] and row[_DAY]), "of a known patient and day", steps)
        rows = _of_patients(rows, settings.per_patient)
        steps.append(Step(len(rows), f"the {settings.per_patient} one of each patient"))
    if settings.sample is not None:
        strata = _strata(results, settings.stratify)
        rows = _draw(rows, settings, lambda row: strata[row[_AT]])
        steps.append(Step(len(rows), f"drawn with seed {settings.seed}{_by(settings.stratify)}"))
    rows.sort(key=lambda row: row["exam_id"])
    chosen = results.take(pa.array([row[_AT] for row in rows], pa.int64()))
    reasons = pa.array([row.get(REASON) for row in rows], pa.string())
    return Selected(chosen.append_column(REASON, reasons), tuple(steps))


_AT, _DAY = "row_of_results", "day"
_NEEDED = (
    *("exam_id", "status", "study_uid", "patient_key", "acquisition_date", "acquisition_time", "qc_flags"),
    *("qc_counts_anterior", "qc_counts_posterior"),
)


def _by(column: str | None) -> str:
    return "" if column is None else f", each {column} with its share"


def _keep(rows: Rows, is_kept: Callable[[dict[str, Any]], bool], words: str, steps: list[Step]) -> Rows:
    kept = [row for row in rows if is_kept(row)]
    if len(kept) < len(rows):
        steps.append(Step(len(kept), words))
    return kept


def _quality(row: dict[str, Any]) -> tuple[int, float]:
    """Sort key of an examination, the best first."""
    counts = (row["qc_counts_anterior"] or 0.0) + (row["qc_counts_posterior"] or 0.0)
    return len(row["qc_flags"] or ()), -counts


def _best(rows: Rows, key: str, whole: str) -> Rows:
    """Keep the best row of each group, and say what made it so."""
    kept = []
    for group in _groups(rows, key):
        best, *others = sorted(group, key=lambda row: (_quality(row), row["exam_id"]))
        if others:
            (flags, counts), (next_flags, next_counts) = _quality(best), _quality(others[0])
            cause = "fewer flags" if flags < next_flags else "more counts" if counts < next_counts else "equal repeats"
            best[REASON] = f"best of {len(group)} of its {whole}: {cause}"
        kept.append(best)
    return kept


def _of_patients(rows: Rows, pick: Pick) -> Rows:
    """Keep one row of each patient, by the time of acquisition; among those of one time the best."""
    kept = []
    for group in _groups(rows, "patient_key"):
        times = [(row[_DAY], row["acquisition_time"] or "") for row in group]
        time = max(times) if pick is Pick.LATEST else min(times)
        (best,) = _best([row for row, own in zip(group, times, strict=True) if own == time], "patient_key", "time")
        if len(group) > 1:
            best[REASON] = "; ".join(filter(None, (best.get(REASON), f"{pick} of {len(group)} of its patient")))
        kept.append(best)
    return kept


def _groups(rows: Rows, key: str) -> Iterable[Rows]:
    groups: defaultdict[str, Rows] = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    return groups.values()


def _strata(results: pa.Table, column: str | None) -> list[str]:
    if column is None:
        return [UNKNOWN] * results.num_rows
    if column not in results.column_names:
        raise UsageError(f"--stratify {column}: results has no such column (docs/tables.md)")
    return [UNKNOWN if value is None else str(value) for value in results.column(column).to_pylist()]


def _draw(rows: Rows, settings: Selecting, stratum_of: Callable[[dict[str, Any]], str]) -> Rows:
    """Draw without replacement; each stratum has its share, rounded by largest remainders.

    The same seed draws the same examinations whatever their order.
    """
    wanted = settings.sample or 0
    if wanted > len(rows):
        raise UsageError(f"--sample {wanted} is more than the {len(rows)} examinations that are left")
    strata: defaultdict[str, Rows] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["exam_id"]):
        strata[stratum_of(row)].append(row)
    shares = {name: divmod(wanted * len(strata[name]), len(rows)) for name in sorted(strata)}
    sizes = {name: whole for name, (whole, _) in shares.items()}
    for name in sorted(shares, key=lambda name: (-shares[name][1], name))[: wanted - sum(sizes.values())]:
        sizes[name] += 1
    generator = np.random.default_rng(settings.seed)
    return [strata[name][at] for name, size in sizes.items() for at in generator.permutation(len(strata[name]))[:size]]
