"""Overlay images: two views in inverse grey, the heat map over them, and a caption.

Pixels are blended with integer lookup tables, so the same examination gives the same bytes.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.notice import HEADLINE, show_score
from bsbatch.records import HeatMap
from bsbatch.view_pixels import ViewPixels

_BRIGHTEST = 99.5
"""Percentile of a view's pixels above 0 from which on pixels are black, such as those of a bladder."""
_SAMPLED = 2
"""The percentile is computed of every second row and column."""
_COLOURS = (72, 236)
"""First and last entry used of the colour map: beyond them it is too dark or too bright to differ from the scan."""
_OPAQUE_FROM, _OPACITY = 0.5, 0.68
"""Opacity of the heat map from this value on; below it, the opacity falls linearly to 0."""
_MARGIN, _GAP, _BAR, _TICKS = 24, 40, 14, 40
_HEADER, _FOOTER = 92, 36
_NARROWEST = 480
_NAMES = 26
"""Rows above the views that hold their names."""
_PER_ROW, _THUMBNAIL, _LABEL = 8, 260, 28
"""Of a contact sheet: thumbnails in a row, columns of a thumbnail, rows of its label."""
_SMALL = 400
"""Width of an image in a report, in pixels."""
_INK, _PALE, _ALARM = (30, 30, 30), (110, 110, 110), (30, 60, 200)
"""Blue, green, red."""
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.5

Image = NDArray[np.uint8]
"""``(rows, columns, 3)``, blue, green, red."""


@dataclass(frozen=True, slots=True)
class Caption:
    """Text above an image."""

    p_metastasis: float
    """In [0, 1]."""
    threshold: float
    """Smallest ``p_metastasis`` of a positive prediction, in [0, 1]."""
    warnings: tuple[str, ...]
    """Names of `bsbatch.imaging.gradcam.CamWarning`."""
    is_calibrated: bool = False
    """True if `p_metastasis` is a probability."""
    is_unlike_training: bool = False

    @property
    def lines(self) -> tuple[str, str]:
        """First line: score and threshold. Second line: the class that the heat map explains."""
        predicted = "metastasis" if self.p_metastasis >= self.threshold else "no metastasis"
        name = "Probability of" if self.is_calibrated else "Score for"
        return (
            f"{name} metastasis {show_score(self.p_metastasis)}  (positive from {show_score(self.threshold)})",
            f"Grad-CAM for: {predicted}",
        )

    @property
    def alarm(self) -> str:
        """Third line, in red; empty if nothing is suspect."""
        unlike = ["unlike the training data: do not trust this score"] if self.is_unlike_training else []
        maps = ["look twice: " + ", ".join(self.warnings)] if self.warnings else []
        return "; ".join(unlike + maps)


def draw(views: tuple[ViewPixels, ViewPixels], heat: HeatMap, caption: Caption) -> Image:
    """Draw an examination.

    Parameters
    ----------
    views
        Anterior and posterior, in counts; each is shown in its own size.
    heat
        ``(32, 32)`` in [0, 1], stretched to each view's size.
    caption
        Text above the views.
    """
    left, right = (overlay_view(view, cells) for view, cells in zip(views, np.hsplit(heat.cells, 2), strict=True))
    height = max(len(left), len(right))
    inner = left.shape[1] + _GAP + right.shape[1] + _GAP + _BAR + _TICKS
    canvas = np.full((_HEADER + height + _FOOTER, max(_NARROWEST, 2 * _MARGIN + inner), 3), 255, np.uint8)
    _mount(canvas, left, _MARGIN, "ANT", "RL")
    start = _MARGIN + left.shape[1] + _GAP
    _mount(canvas, right, start, "POST", "LR")
    _scale_bar(canvas, start + right.shape[1] + _GAP, height)
    _write_caption(canvas, caption)
    return canvas


def overlay_view(view: ViewPixels, cells: NDArray[np.float32]) -> Image:
    """Draw one view ``(rows, columns)`` in inverse grey under its half of the heat map ``(32, 16)``."""
    grey = _inverse_grey(view.counts)
    rows, columns = grey.shape
    heat = cv2.resize(np.ascontiguousarray(cells), (columns, rows), interpolation=cv2.INTER_LINEAR)
    indices = np.rint(heat * 255).astype(np.uint16) << 8 | grey
    pixels = np.take(_blend_table(), indices)[:, :, np.newaxis].view(np.uint8)
    return np.asarray(pixels[:, :, :3])


def sheet_of(images: list[Image], labels: list[str]) -> Image:
    """Draw a contact sheet: rows of thumbnails without captions, each below a label."""
    small = [_thumbnail(image, _THUMBNAIL) for image in images]
    height = max(len(image) for image in small) + _LABEL
    rows = -(-len(small) // _PER_ROW)
    sheet = np.full((rows * height + _FOOTER, _PER_ROW * _THUMBNAIL, 3), 255, np.uint8)
    for number, (image, label) in enumerate(zip(small, labels, strict=True)):
        top, left = number // _PER_ROW * height, number % _PER_ROW * _THUMBNAIL
        _text(sheet, label, left + 10, top + _LABEL - 10)
        sheet[top + _LABEL : top + _LABEL + len(image), left : left + _THUMBNAIL] = image
    _text(sheet, HEADLINE, 10, len(sheet) - 12, _PALE)
    return sheet


def small_overlay(overlay: Image) -> Image:
    """Return an overlay for a report, without its caption, 400 columns wide."""
    return _thumbnail(overlay, _SMALL)


def small_scan(views: tuple[ViewPixels, ViewPixels], overlay: Image) -> NDArray[np.uint8]:
    """Return the views of `small_overlay` without the heat map, in grey, at the same positions."""
    canvas, start = cv2.extractChannel(overlay, 0), _MARGIN
    for view in views:
        grey = _inverse_grey(view.counts)
        rows, columns = grey.shape
        canvas[_HEADER : _HEADER + rows, start : start + columns] = grey
        start += columns + _GAP
    canvas[:, start - 1 : start + _BAR + _TICKS] = 255  # no heat map, so no scale bar
    return _thumbnail(np.asarray(canvas), _SMALL)


def _inverse_grey(counts: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return grey values of the counts' square roots, so that ribs show beside a hot lesion; zero counts are white."""
    sample = counts[::_SAMPLED, ::_SAMPLED]
    positive = sample[sample > 0]
    brightest = float(np.percentile(positive, _BRIGHTEST)) if positive.size else 1.0
    roots = cv2.sqrt(np.clip(counts, 0, brightest))
    return np.asarray(255 - np.rint(roots * np.float32(255 / np.sqrt(brightest))).astype(np.uint8))


@cache
def _blend_table() -> NDArray[np.uint32]:
    """Return the pixels, as blue, green, red and an unused byte, by ``heat << 8 | grey``, each from 0 to 255."""
    first, last = _COLOURS
    ramp = np.rint(np.linspace(first, last, 256)).astype(np.uint8)
    colours = cv2.applyColorMap(ramp[:, np.newaxis], cv2.COLORMAP_INFERNO).astype(np.float64)
    opacity = _OPACITY * np.clip(np.linspace(0, 1, 256) / _OPAQUE_FROM, 0, 1)[:, np.newaxis, np.newaxis]
    greys = np.arange(256, dtype=np.float64)[np.newaxis, :, np.newaxis]
    mixed = np.zeros((256, 256, 4), np.uint8)
    mixed[:, :, :3] = np.rint(opacity * colours + (1 - opacity) * greys)
    return mixed.view(np.uint32).ravel()


def _mount(canvas: Image, view: Image, left: int, name: str, sides: str) -> None:
    """Draw a view with its frame and name. ``sides`` are the patient's sides at the image's left and right."""
    rows, columns = view.shape[:2]
    canvas[_HEADER : _HEADER + rows, left : left + columns] = view
    cv2.rectangle(canvas, (left - 1, _HEADER - 1), (left + columns, _HEADER + rows), _PALE, 1)
    baseline = _HEADER - 8
    _text(canvas, sides[0], left, baseline)
    _text(canvas, name, left + (columns - _width(name)) // 2, baseline)
    _text(canvas, sides[1], left + columns - _width(sides[1]), baseline)


def _scale_bar(canvas: Image, left: int, height: int) -> None:
    """Draw the colours of the heat map over white, 1 at the top."""
    length = min(height, 256)
    values = np.rint(np.linspace(255, 0, length)).astype(np.uint16)
    colours = np.take(_blend_table(), values << 8 | 255)[:, np.newaxis].view(np.uint8)[:, :3]
    canvas[_HEADER : _HEADER + length, left : left + _BAR] = colours[:, np.newaxis]
    cv2.rectangle(canvas, (left - 1, _HEADER - 1), (left + _BAR, _HEADER + length), _PALE, 1)
    for value, row in (("1", 10), ("0", length)):
        _text(canvas, value, left + _BAR + 6, _HEADER + row)


def _write_caption(canvas: Image, caption: Caption) -> None:
    first, second = caption.lines
    _text(canvas, first, _MARGIN, 24)
    _text(canvas, second, _MARGIN, 44)
    _text(canvas, caption.alarm, _MARGIN, 64, _ALARM)
    _text(canvas, HEADLINE, _MARGIN, len(canvas) - 12, _PALE)


def _text(canvas: Image, words: str, left: int, baseline: int, colour: tuple[int, int, int] = _INK) -> None:
    cv2.putText(canvas, words, (left, baseline), _FONT, _SIZE, colour, 1, cv2.LINE_AA)


def _width(words: str) -> int:
    return int(cv2.getTextSize(words, _FONT, _SIZE, 1)[0][0])


def _thumbnail(image: Image, width: int) -> Image:
    """Return a small image without captions; the image has one channel or three."""
    inner = image[_HEADER - _NAMES : len(image) - _FOOTER]
    rows, columns = inner.shape[:2]
    size = (width, max(1, round(rows * width / columns)))
    return np.asarray(cv2.resize(inner, size, interpolation=cv2.INTER_AREA), np.uint8)
