"""Overlay images: one for each examination that has a heat map, and contact sheets of the run.

Threads write the images of a unit before its rows, while the backend computes the next unit. A file is named after its
examination, so processing a unit again writes the same files with the same bytes. The images hold no header values.
"""

import io
import secrets
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np

from bsbatch.config import OverlayFormat, OverlayStyle
from bsbatch.errors import BsbatchError, MachineError, OutputError
from bsbatch.host.files import read_plain, replace_file
from bsbatch.host.origin import describe
from bsbatch.host.threads import ordered_map
from bsbatch.notice import show_score
from bsbatch.records import Explanation, Prediction, UnitOutcome
from bsbatch.sinks.drawing import Caption, Image, draw, scan_image, sheet_of
from bsbatch.store.folder import OVERLAYS, SCANS, overlay_files, scan_files
from bsbatch.store.parts import all_rows
from bsbatch.store.tables import RESULTS
from bsbatch.view_pixels import ViewPixels

_ON_A_SHEET, _LARGEST = 24, 1 << 26
_COLUMNS = ["exam_id", "p_metastasis"]
_WEBP = {"quality": 85, "method": 0}
"""libwebp's fastest method: 0.4 times the time of the default for 1.1 times the bytes. OpenCV does not offer it."""
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)
"""For the scans of a report: a sixth of the time of WebP."""


@dataclass(frozen=True, slots=True)
class Look:
    """Look of the overlays of a run."""

    threshold: float
    """Smallest score of a positive prediction, in [0, 1]."""
    form: OverlayFormat = OverlayFormat.PNG
    style: OverlayStyle = OverlayStyle.CONTOURS
    is_calibrated: bool = False
    """True if a score is a probability."""


class OverlaySink:
    """Writes ``OUT/overlays``: ``{exam_id}.png`` and, at the end, ``sheet-0001.png`` and on, highest score first.

    ``OUT/scans`` holds `bsbatch.sinks.drawing.scan_image` of each, for the report.
    """

    def __init__(self, out: Path, look: Look, threads: int) -> None:
        """Create the folders. Several processes may draw into them at once.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        self.bugs: list[str] = []
        """Type and place of each error of ours that left an examination without its image."""
        self._out, self._folder, self._look, self._threads = out, out / OVERLAYS, look, threads
        self._name = secrets.token_hex(4)
        try:
            for folder in (self._folder, out / SCANS):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError.of(self._folder, error) from error

    def commit(self, outcome: UnitOutcome) -> None:
        """Draw the examinations of a unit that have a heat map.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        explained = (item for item in outcome.outcomes if isinstance(item, Prediction) and _views(item) is not None)
        for _ in ordered_map(self._draw_exam, explained, self._threads):
            pass

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of a killed run, before any process draws.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        try:
            for folder in (self._folder, self._out / SCANS):
                for leftover in folder.glob(".*.partial"):
                    leftover.unlink()
        except OSError as error:
            raise OutputError.of(self._folder, error) from error

    def finish(self) -> None:
        """Remove overlays of examinations without a score, and draw new contact sheets.

        Raises
        ------
        OutputError
            The folder cannot be written to, or an overlay in it cannot be read.
        """
        rows = all_rows(self._out / RESULTS, _COLUMNS)
        scores = {row["exam_id"]: row["p_metastasis"] for row in rows if row["p_metastasis"] is not None}
        files = overlay_files(self._out)
        try:
            for path in (*files, *scan_files(self._out)):
                if path.stem not in scores:  # contact sheets, too
                    path.unlink()
        except OSError as error:
            raise OutputError.of(self._folder, error) from error
        ranked = sorted((-scores[path.stem], path) for path in files if path.stem in scores)
        pages = [(first, ranked[first : first + _ON_A_SHEET]) for first in range(0, len(ranked), _ON_A_SHEET)]
        for _ in ordered_map(self._draw_sheet, pages, self._threads):
            pass

    def _draw_exam(self, item: Prediction) -> None:
        try:
            self._write_exam(item)
        except (BsbatchError, OSError):
            raise
        except Exception as error:  # a bug costs one image, not the run
            machine = MachineError.of(error)
            if machine is not None:
                raise machine from error
            self.bugs.append(describe(error))

    def _write_exam(self, item: Prediction) -> None:
        explanation, views = item.explanation, _views(item)
        if explanation is not None and views is not None:
            caption = Caption(
                item.p_metastasis,
                self._look.threshold,
                explanation.location.warnings,
                item.quality.flags,
                self._look.is_calibrated,
            )
            scan = cv2.imencode(".jpg", scan_image(views), _JPEG)[1].tobytes()
            self._write_bytes(self._out / SCANS / f"{item.exam.exam_id}.jpg", scan)
            self._write_image(item.exam.exam_id, draw(views, explanation.heat, caption, self._look.style))

    def _draw_sheet(self, page: tuple[int, list[tuple[float, Path]]]) -> None:
        first, entries = page
        labels = [f"{show_score(-score)}  {path.stem[:8]}" for score, path in entries]
        self._write_image(
            f"sheet-{first // _ON_A_SHEET + 1:04d}", sheet_of([read_overlay(path) for _, path in entries], labels)
        )

    def _write_image(self, name: str, image: Image) -> None:
        content = _webp_of(image) if self._look.form is OverlayFormat.WEBP else _png_of(image)
        self._write_bytes(self._folder / f"{name}.{self._look.form}", content)

    def _write_bytes(self, path: Path, content: bytes) -> None:
        try:
            with replace_file(path, path.with_name(f".{path.name}.{self._name}.partial")) as aside:
                aside.write_bytes(content)
        except OSError as error:
            raise OutputError.of(path.parent, error) from error


def _views(item: Prediction) -> tuple[ViewPixels, ViewPixels] | None:
    explanation: Explanation | None = item.explanation
    return None if explanation is None else explanation.views


def _png_of(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def _webp_of(image: Image) -> bytes:
    content = io.BytesIO()
    pillow = import_module("PIL.Image")
    pillow.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).save(content, "WEBP", **_WEBP)
    return content.getvalue()


def read_overlay(path: Path) -> Image:
    """Read an overlay image.

    Raises
    ------
    OutputError
        The file cannot be read.
    """
    try:
        image = cv2.imdecode(np.frombuffer(read_plain(path, _LARGEST), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        image = None
    if image is None:
        raise OutputError(f"{path} cannot be read: delete it and run again; its examination keeps its row")
    return np.asarray(image, np.uint8)
