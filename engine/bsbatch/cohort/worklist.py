"""Writes a worklist for readers: workbook with thumbnails, HTML page, CSV. No cell is a formula."""

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2

from bsbatch.cohort.examined import read_examined
from bsbatch.cohort.export import refuse_target
from bsbatch.cohort.joining import join
from bsbatch.cohort.ranking import Item, rank
from bsbatch.cohort.settings import Worklist
from bsbatch.errors import OutputError, UsageError
from bsbatch.host.files import replace_file
from bsbatch.host.spreadsheet import write_csv
from bsbatch.notice import NOTICE, SENTENCE
from bsbatch.requirements import require
from bsbatch.sinks.drawing import small_overlay
from bsbatch.sinks.overlays import read_overlay
from bsbatch.store.parts import read_table
from bsbatch.store.tables import RESULTS

VERDICT, PICTURE = "verdict", "picture"
VERDICTS = ("metastasis", "no metastasis", "unclear")
"""Choices of the column that a reader fills."""
_LONG = frozenset({"path", "exam_id", "study uid"})
"""Headings whose values may break anywhere, and stand behind the others."""
_HEIGHT = 200
"""Height of a thumbnail in a sheet, pixels."""
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 80)
_WIDEST, _NARROWEST = 44, 8
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:1rem}table{border-collapse:collapse}"
    "th,td{border:1px solid #999;padding:.3rem .5rem;text-align:left;vertical-align:top}div{overflow-x:auto}"
    ".long{overflow-wrap:anywhere;min-width:9em}.verdict{min-width:8em}"
    "th{position:sticky;top:0;background:Canvas}img{max-height:12rem}"
    ":root{color-scheme:light dark}@media print{thead{display:table-header-group}tr{break-inside:avoid}}"
)


def write_worklist(out: Path, to: Path, settings: Worklist) -> int:
    """Write a worklist whole or not at all, by the suffix of its name; return the number of its examinations.

    Parameters
    ----------
    out
        Output folder of a run.
    to
        ``.xlsx``, ``.html`` or ``.csv``.
    settings
        Order, length and labels.

    Raises
    ------
    UsageError
        The suffix is unknown, there is no examination to list, or the labels cannot be joined.
    MissingPackageError
        It is a workbook and XlsxWriter is not installed.
    OutputError
        An overlay cannot be read, or the file cannot be written.
    """
    write = _WRITERS.get(to.suffix.lower())
    if write is None:
        raise UsageError(f"--to {to} must end with {', '.join(_WRITERS)}")
    refuse_target(to, out)
    results = read_table(out / RESULTS)
    if results is None:
        raise UsageError(f"{out} holds no results: give the --out folder of bsbatch run")
    joined = None if settings.labels is None else join(settings.labels, read_examined(out))
    items = rank(results, out, settings, joined)
    if not items:
        raise UsageError("no examination belongs on this worklist: choose another --rank")
    content = write(items)
    try:
        with replace_file(to) as aside:
            aside.write_bytes(content)
    except OSError as error:
        raise OutputError.of(to, error) from error
    return len(items)


def _csv(items: Sequence[Item]) -> bytes:
    stream = io.StringIO(newline="")
    write_csv(stream, [[*items[0].cells, VERDICT], *([*item.cells.values(), None] for item in items)])
    return stream.getvalue().encode()


def _layout(items: Sequence[Item]) -> list[str]:
    """Headings of a sheet or page: those with a value, then verdict and picture, then the long ones."""
    filled = [name for name in items[0].cells if any(item.cells[name] not in {None, ""} for item in items)]
    pictures = [PICTURE] if any(item.overlay for item in items) else []
    short = [name for name in filled if name not in _LONG]
    return [*short, VERDICT, *pictures, *(name for name in filled if name in _LONG)]


def _html(items: Sequence[Item]) -> bytes:
    """Return one page that loads nothing; a reader's verdicts are written on paper or into the workbook."""
    names = _layout(items)
    head = "".join(f'<th class="{_class_of(name)}">{escape(name)}</th>' for name in names)
    rows = "\n".join("<tr>" + "".join(_html_cell(item, name) for name in names) + "</tr>" for item in items)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Worklist</title><style>{_STYLE}</style>'
        f"<h1>Worklist</h1><p>{escape(SENTENCE)} A heat map shows where the model looked, not where a lesion is.</p>"
        f"<div><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div></html>\n"
    )
    return page.encode()


def _html_cell(item: Item, name: str) -> str:
    if name == PICTURE and item.overlay is not None:
        url = f"data:image/jpeg;base64,{b64encode(_thumbnail(item.overlay)[0]).decode()}"
        return f'<td><img alt="scan with heat map" src="{url}"></td>'
    value = item.cells.get(name)
    return f'<td class="{_class_of(name)}">{"" if value is None else escape(str(value))}</td>'


def _class_of(name: str) -> str:
    return "long" if name in _LONG else name if name == VERDICT else ""


def _xlsx(items: Sequence[Item]) -> bytes:
    """Return a workbook: thumbnails, frozen header, filters, widths, choices of a verdict, and a page set-up."""
    require("xlsxwriter", extra="cohort")
    import xlsxwriter  # noqa: PLC0415 - of an extra

    stream, names = io.BytesIO(), _layout(items)
    with xlsxwriter.Workbook(stream, {"in_memory": True}) as book:
        book.set_properties({"comments": NOTICE})
        sheet = book.add_worksheet("worklist")
        top = book.add_format({"valign": "top", "text_wrap": True})
        for at, name in enumerate(names):
            sheet.write_string(0, at, name, book.add_format({"bold": True, "bottom": 1}))
            sheet.set_column(at, at, _width(name, items))
        for line, item in enumerate(items, 1):
            sheet.set_row_pixels(line, None if item.overlay is None else _HEIGHT + 4, top)
            _write_item(sheet, line, item, names)
        verdict = names.index(VERDICT)
        sheet.data_validation(1, verdict, len(items), verdict, {"validate": "list", "source": list(VERDICTS)})
        _set_up_page(sheet, len(items), len(names))
    return stream.getvalue()


def _write_item(sheet: Any, line: int, item: Item, names: Sequence[str]) -> None:
    for at, name in enumerate(names):
        value = item.cells.get(name)
        if isinstance(value, int):
            sheet.write_number(line, at, value)
        elif value:
            sheet.write_string(line, at, value)
    if item.overlay is not None:
        picture, height = _thumbnail(item.overlay)
        scale = _HEIGHT / height
        options = {"image_data": io.BytesIO(picture), "x_scale": scale, "y_scale": scale, "object_position": 1}
        sheet.insert_image(line, names.index(PICTURE), "scan.jpg", options)


def _set_up_page(sheet: Any, rows: int, columns: int) -> None:
    """Freeze and filter the header, and print it on each page of A4, landscape, as wide as the page."""
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, rows, columns - 1)
    sheet.print_area(0, 0, rows, columns - 1)
    sheet.repeat_rows(0)
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.set_footer(f"&L{SENTENCE}&R&P / &N")


def _width(name: str, items: Sequence[Item]) -> int:
    if name in {VERDICT, PICTURE}:
        return {VERDICT: 16, PICTURE: 30}[name]
    longest = max(len(str(item.cells[name])) for item in items)
    return min(_WIDEST, max(_NARROWEST, len(name) + 3, longest + 1))


def _thumbnail(overlay: Path) -> tuple[bytes, int]:
    """Return a small JPEG of an overlay, and its height in pixels."""
    small = small_overlay(read_overlay(overlay))
    return cv2.imencode(".jpg", small, _JPEG)[1].tobytes(), len(small)


_WRITERS: dict[str, Callable[[Sequence[Item]], bytes]] = {".xlsx": _xlsx, ".csv": _csv, ".html": _html}
