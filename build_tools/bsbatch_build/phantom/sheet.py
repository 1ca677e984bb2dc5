"""Contact sheets: examinations side by side in inverse grey, with a reference scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.host.files import refuse_file
from bsbatch_build.phantom.reading import Counts, LabelledExamination, read_set, read_views
from bsbatch_build.phantom.statistics import (
    CountStatistics,
    markdown,
    real_rows,
    rows_at_real_counts,
    statistics_of,
    summary_row,
)

Picture = NDArray[np.uint8]
"""(rows, columns) uint8, black on white."""

_TILE = (176, 704)
"""Columns and rows of one view on the sheet."""
_ASPECT = 4
"""Rows over columns; wider matrices are cropped at the sides."""
_CAPTION = 16
_WHITE = 255
_STEP = 12
"""Step between shades of grey; finer steps preserve noise and make large files."""
_PERCENTILE = 99.5
_GAMMA = 0.6
"""Exponent of the window: between linear (1) and square root (0.5)."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Results of an inspection: contact sheets and a table of statistics."""

    sheets: tuple[Path, ...]
    table: str
    """Markdown."""
    rows: tuple[tuple[str, ...], ...]
    """The table's cells under statistics.HEADER."""


def inspect_set(folder: Path, out: Path, reference: Path | None, each: int) -> Inspection:
    """Write one sheet for each centre and the table of statistics into ``out``.

    A sheet shows up to ``each`` positives and as many negatives. Raises ValueError if ``folder`` is
    not a phantom set.
    """
    refuse_file(out)
    shown: dict[str, list[LabelledExamination]] = {}
    measured: dict[str, list[CountStatistics]] = {}
    for examination in read_set(folder):
        views = (examination.anterior, examination.posterior)
        measured.setdefault(examination.centre, []).extend(statistics_of(view) for view in views)
        group = shown.setdefault(examination.centre, [])
        if sum(other.positive == examination.positive for other in group) < each:
            group.append(examination)
    real = list(read_views(reference).values()) if reference else []
    rows = [summary_row(f"centre {name}", measured[name]) for name in sorted(measured)]
    rows += rows_at_real_counts([one for group in measured.values() for one in group])
    rows += [summary_row("reference", [statistics_of(view) for view in real])] if real else []
    rows += real_rows()
    out.mkdir(parents=True, exist_ok=True)
    sheets = tuple(_write_sheet(out, name, shown[name], real) for name in sorted(shown))
    table = markdown(rows)
    (out / "statistics.md").write_text(table, encoding="utf-8")
    return Inspection(sheets, table, tuple(rows))


def window(view: Counts) -> Picture:
    """Map counts to inverse grey, up to the 99.5th percentile of the pixels with counts."""
    hit = view[view > 0]
    top = max(float(np.percentile(hit, _PERCENTILE)), 1.0) if hit.size else 1.0
    return _WHITE - np.round(_WHITE * np.clip(view / top, 0.0, 1.0) ** _GAMMA).astype(np.uint8)


def _tile(view: Counts, caption: str) -> Picture:
    width = view.shape[0] // _ASPECT
    left = (view.shape[1] - width) // 2
    small = cv2.resize(window(view)[:, left : left + width], _TILE, interpolation=cv2.INTER_AREA)
    tile = np.full((_TILE[1] + _CAPTION, _TILE[0]), _WHITE, np.uint8)
    tile[_CAPTION:] = _WHITE - (_WHITE - small) // _STEP * _STEP
    cv2.putText(tile, caption, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0)
    return tile


def _write_sheet(out: Path, centre: str, examinations: Sequence[LabelledExamination], real: Sequence[Counts]) -> Path:
    tiles = [_tile(view, "reference") for view in real]
    for examination in sorted(examinations, key=lambda one: not one.positive):
        label = "metastases" if examination.positive else "none"
        tiles += [_tile(examination.anterior, f"ANT {label}"), _tile(examination.posterior, "POST")]
    path = out / f"centre_{centre}.png"
    sheet = np.hstack(tiles)
    inked = np.flatnonzero((sheet < _WHITE).any(axis=1))
    ok, data = cv2.imencode(".png", sheet[: inked[-1] + _CAPTION])
    if not ok:
        raise RuntimeError("OpenCV could not write a PNG.")
    path.write_bytes(data.tobytes())
    return path
