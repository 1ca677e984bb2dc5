"""Contact sheets: examinations side by side in inverse grey, with a reference scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch_build.phantom.reading import Counts, Reading, read_set, read_views
from bsbatch_build.phantom.statistics import Figures, figures, markdown, matched_rows, real_rows, summary_row

Picture = NDArray[np.uint8]
"""(rows, columns) uint8, black on white."""

_TILE = (176, 704)
"""Columns and rows of one view on the sheet."""
_ASPECT = 4
"""Rows over columns; wider matrices are cut at the sides."""
_CAPTION = 16
_WHITE = 255
_STEP = 12
"""Between shades of grey: noise in more of them makes large files."""
_PERCENTILE = 99.5
_GAMMA = 0.6
"""Between a linear and a square-root window."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What looking at a set gave."""

    sheets: tuple[Path, ...]
    table: str
    """Markdown."""
    rows: tuple[tuple[str, ...], ...]
    """The table's cells under statistics.HEADER."""


def inspect_set(folder: Path, out: Path, reference: Path | None, each: int) -> Inspection:
    """Write one sheet for each centre and the table of figures into ``out``.

    A sheet shows up to ``each`` positives and as many negatives. Raises ValueError where ``folder``
    is no set.
    """
    readings: dict[str, list[Reading]] = {}
    measured: dict[str, list[Figures]] = {}
    for reading in read_set(folder):
        views = (reading.anterior, reading.posterior)
        measured.setdefault(reading.centre, []).extend(figures(view) for view in views)
        shown = readings.setdefault(reading.centre, [])
        if sum(other.positive == reading.positive for other in shown) < each:
            shown.append(reading)
    real = list(read_views(reference).values()) if reference else []
    rows = [summary_row(f"centre {name}", measured[name]) for name in sorted(measured)]
    rows += matched_rows([one for group in measured.values() for one in group])
    rows += [summary_row("reference", [figures(view) for view in real])] if real else []
    rows += real_rows()
    out.mkdir(parents=True, exist_ok=True)
    sheets = tuple(_write(out, name, readings[name], real) for name in sorted(readings))
    table = markdown(rows)
    (out / "statistics.md").write_text(table, encoding="utf-8")
    return Inspection(sheets, table, tuple(rows))


def window(view: Counts) -> Picture:
    """Inverse grey up to the 99.5th percentile of the pixels with counts."""
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


def _write(out: Path, centre: str, readings: Sequence[Reading], real: Sequence[Counts]) -> Path:
    tiles = [_tile(view, "reference") for view in real]
    for reading in sorted(readings, key=lambda one: not one.positive):
        label = "metastases" if reading.positive else "none"
        tiles += [_tile(reading.anterior, f"ANT {label}"), _tile(reading.posterior, "POST")]
    path = out / f"centre_{centre}.png"
    sheet = np.hstack(tiles)
    inked = np.flatnonzero((sheet < _WHITE).any(axis=1))
    ok, data = cv2.imencode(".png", sheet[: inked[-1] + _CAPTION])
    if not ok:
        raise RuntimeError("OpenCV could not write a PNG.")
    path.write_bytes(data.tobytes())
    return path
