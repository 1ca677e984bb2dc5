"""Overlay images: the scan with its heat map, the scan alone in two windows, and a caption.

The same examination gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.config import OverlayStyle
from bsbatch.notice import HEADLINE, LOOKED, show_score
from bsbatch.records import HeatMap
from bsbatch.sinks.contours import LEVELS, outline, stretch
from bsbatch.sinks.window import Box, Grey, boxes_of, inverse_grey, upper_level
from bsbatch.store.tables import UNLIKE_TRAINING
from bsbatch.view_pixels import ViewPixels

DARK = 0.5
"""Second window of the scan alone, as a share of the first: it shows faint bones, the first shows hot ones."""
RANGE = 4.0
"""Counts that are black in `scan_image`, as a multiple of those that are black in an overlay."""
SCAN_ROWS = 1024
"""Rows of a view in `scan_image`."""
_HEIGHT = 1024
"""Rows of a view that smaller ones are enlarged to by an integer."""
_COLOURS = (72, 236)
"""First and last entry used of the colour map: beyond them it is too dark or too bright to differ from the scan."""
_OPAQUE_FROM, _OPACITY = 0.5, 0.68
"""Opacity of a translucent heat map from this value on; below it, the opacity falls linearly to 0."""
_LINES = (214, 120, 224), (150, 20, 190)
"""Colours of the contours of `LEVELS`."""
_LINE, _TINT = 2, 0.1
"""Width of a contour, and opacity of the colour inside: without it, nobody knows which side is the inside."""
_MARGIN, _GAP, _NARROWEST = 16, 16, 300
_HEADER, _TITLE, _NAMES, _FOOTER = 88, 22, 40, 40
"""Rows of the caption, of the title of a panel, of the names above its views, and of the notice."""
_PER_ROW, _THUMBNAIL, _LABEL = 8, 260, 28
"""Of a contact sheet: thumbnails in a row, columns of a thumbnail, rows of its label."""
_SMALL = 400
"""Columns of a small overlay, such as in a worklist."""
_INK, _PALE, _ALARM = (30, 30, 30), (110, 110, 110), (30, 60, 200)
"""Blue, green, red."""
_FONT, _SIZE, _TOP, _LARGE = cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0.7, 0.8
"""Sizes of most text, of the first line, and of the patient's sides, which are bold."""
_PANELS = 3

Colour = tuple[int, int, int]
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
    flags: tuple[str, ...] = ()
    """Names of `bsbatch.imaging.quality.Flag`."""
    is_calibrated: bool = False
    """True if `p_metastasis` is a probability."""

    @property
    def predicted(self) -> str:
        """The class that the heat map explains."""
        return "metastasis" if self.p_metastasis >= self.threshold else "no metastasis"

    @property
    def headline(self) -> str:
        """First line: score and threshold."""
        name = "Probability of" if self.is_calibrated else "Score for"
        return f"{name} metastasis {show_score(self.p_metastasis)}  (positive from {show_score(self.threshold)})"

    @property
    def quality(self) -> str:
        """Second line: flags of the scan."""
        return f"Quality flags: {', '.join(self.flags) or 'none'}"

    @property
    def alarm(self) -> str:
        """Third line, in red; empty if nothing is suspect."""
        unlike = ["unlike the training data: do not trust this score"] if UNLIKE_TRAINING in self.flags else []
        maps = ["look twice at the heat map: " + ", ".join(self.warnings)] if self.warnings else []
        return "; ".join(unlike + maps)


def draw(
    views: tuple[ViewPixels, ViewPixels], heat: HeatMap, caption: Caption, style: OverlayStyle = OverlayStyle.CONTOURS
) -> Image:
    """Draw an examination: its heat map over the scan, and the scan alone in two windows.

    Parameters
    ----------
    views
        Anterior and posterior, in counts; cropped to the body.
    heat
        ``(32, 32)`` in [0, 1], stretched to each view's size.
    caption
        Text above the views.
    style
        Look of the heat map.
    """
    inner = np.hstack(_panels([view.counts for view in views], heat, caption, style))
    canvas = np.full((_HEADER + len(inner) + _FOOTER, inner.shape[1], 3), 255, np.uint8)
    canvas[_HEADER : _HEADER + len(inner)] = inner
    _write_caption(canvas, caption)
    return canvas


def _panels(counts: list[NDArray[np.float32]], heat: HeatMap, caption: Caption, style: OverlayStyle) -> list[Image]:
    """Draw the heat map over the scan, and the scan in both windows."""
    boxes = boxes_of(counts)
    level = upper_level(counts, boxes)
    windows = level, DARK * level
    greys = [[_enlarge(inverse_grey(view, upper)) for view in counts] for upper in windows]
    marked = [_mark(grey, half, style) for grey, half in zip(greys[0], np.hsplit(heat.cells, 2), strict=True)]
    titles = f"Grad-CAM for: {caption.predicted}", *(f"scan, 0 to {upper:.3g} counts" for upper in windows)
    pairs: list[Sequence[Image]] = [marked]
    pairs += ([_coloured(grey) for grey in pair] for pair in greys)
    panels = [_panel(pair, boxes, title) for pair, title in zip(pairs, titles, strict=True)]
    _write_scale(panels[0], style)
    return panels


def sheet_of(images: list[Image], labels: list[str]) -> Image:
    """Draw a contact sheet: rows of thumbnails without captions, each below a label."""
    small = [small_overlay(image, _THUMBNAIL) for image in images]
    height = max(len(image) for image in small) + _LABEL
    rows = -(-len(small) // _PER_ROW)
    sheet = np.full((rows * height + _FOOTER, _PER_ROW * _THUMBNAIL, 3), 255, np.uint8)
    for number, (image, label) in enumerate(zip(small, labels, strict=True)):
        top, left = number // _PER_ROW * height, number % _PER_ROW * _THUMBNAIL
        _text(sheet, label, (left + 10, top + _LABEL - 10))
        sheet[top + _LABEL : top + _LABEL + len(image), left : left + _THUMBNAIL] = image
    _text(sheet, f"{LOOKED} {HEADLINE}", (10, len(sheet) - 14), _PALE)
    return sheet


def small_overlay(overlay: Image, width: int = _SMALL) -> Image:
    """Return the heat map over the scan of an overlay, without captions, of a width in pixels."""
    inner = overlay[_HEADER + _TITLE : len(overlay) - _FOOTER, : overlay.shape[1] // _PANELS]
    rows, columns = inner.shape[:2]
    size = (width, max(1, round(rows * width / columns)))
    return np.asarray(cv2.resize(inner, size, interpolation=cv2.INTER_AREA), np.uint8)


def scan_image(views: tuple[ViewPixels, ViewPixels]) -> Grey:
    """Return both views whole, side by side, of `SCAN_ROWS` rows, for a report that sets the window itself.

    In inverse grey of the square root of the counts, black from `RANGE` times the level of an overlay on: eight bits
    then suffice for the window of faint bones and for that of hot ones.
    """
    counts = [view.counts for view in views]
    most = RANGE * upper_level(counts, boxes_of(counts))
    columns = max(1, round(SCAN_ROWS * max(view.shape[1] / view.shape[0] for view in counts)))
    small = [cv2.resize(view, (columns, SCAN_ROWS), interpolation=cv2.INTER_AREA) for view in counts]
    roots = [np.asarray(cv2.sqrt(np.clip(view, 0, most)), np.float32) for view in small]
    return np.hstack([inverse_grey(view, most**0.5) for view in roots])


def _enlarge(grey: Grey) -> Grey:
    times = max(1, round(_HEIGHT / len(grey)))
    return np.asarray(np.repeat(np.repeat(grey, times, axis=0), times, axis=1))


def _mark(grey: Grey, cells: NDArray[np.float32], style: OverlayStyle) -> Image:
    """Draw a heat map, ``(32, 16)``, over its view."""
    rows, columns = grey.shape
    heat = stretch(cells, (rows, columns))
    if style is OverlayStyle.TRANSLUCENT:
        indices = np.rint(heat * 255).astype(np.uint16) << 8 | grey
        return np.asarray(np.take(_blend_table(), indices)[:, :, np.newaxis].view(np.uint8)[:, :, :3])
    image = _coloured(grey)
    for level, colour in zip(LEVELS, _LINES, strict=True):
        inside = heat >= level
        tinted = cv2.addWeighted(image, 1 - _TINT, np.full_like(image, colour), _TINT, 0)
        cv2.copyTo(tinted, inside.astype(np.uint8), image)
        cv2.polylines(image, outline(inside), isClosed=True, color=colour, thickness=_LINE, lineType=cv2.LINE_AA)
    return image


def _coloured(grey: Grey) -> Image:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


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


def _panel(pair: Sequence[Image], boxes: Sequence[Box], title: str) -> Image:
    """Mount both views, cropped, below their names and the patient's sides at the image's left and right."""
    views = [box.crop(image) for image, box in zip(pair, boxes, strict=True)]
    width = max(_NARROWEST, sum(view.shape[1] for view in views) + _GAP + 2 * _MARGIN)
    canvas = np.full((_TITLE + _NAMES + max(map(len, views)) + 2, width, 3), 255, np.uint8)
    _text(canvas, title, (_MARGIN, 14))
    left = _MARGIN
    for view, (name, sides) in zip(views, (("ANT", "RL"), ("POST", "LR")), strict=True):
        _mount(canvas, view, left, name, sides)
        left += view.shape[1] + _GAP
    return canvas


def _mount(canvas: Image, view: Image, left: int, name: str, sides: str) -> None:
    rows, columns = view.shape[:2]
    top = _TITLE + _NAMES
    canvas[top : top + rows, left : left + columns] = view
    cv2.rectangle(canvas, (left - 1, top - 1), (left + columns, top + rows), _PALE, 1)
    _text(canvas, sides[0], (left, top - 8), size=_LARGE)
    _text(canvas, name, (left + (columns - _width(name)) // 2, top - 8))
    _text(canvas, sides[1], (left + columns - _width(sides[1], _LARGE), top - 8), size=_LARGE)


def _write_scale(panel: Image, style: OverlayStyle) -> None:
    """Write below the title which values of the heat map, as shares of its maximum, have which colour."""
    if style is OverlayStyle.TRANSLUCENT:
        colours = np.take(_blend_table(), np.arange(256, dtype=np.uint16) << 8 | 255)[:, np.newaxis].view(np.uint8)
        panel[_TITLE : _TITLE + 10, _MARGIN + 90 : _MARGIN + 346] = colours[:, :3]
        _text(panel, "0 to 100 %", (_MARGIN, _TITLE + 10))
        return
    left = _MARGIN
    for level, colour in zip(LEVELS, _LINES, strict=True):
        cv2.line(panel, (left, _TITLE + 5), (left + 24, _TITLE + 5), colour, _LINE, cv2.LINE_AA)
        _text(panel, f"{100 * level:.0f} % of its maximum", (left + 30, _TITLE + 10))
        left += 190


def _write_caption(canvas: Image, caption: Caption) -> None:
    _text(canvas, caption.headline, (_MARGIN, 26), size=_TOP)
    _text(canvas, caption.quality, (_MARGIN, 50))
    _text(canvas, caption.alarm, (_MARGIN, 72), _ALARM)
    _text(canvas, f"{LOOKED} {HEADLINE}", (_MARGIN, len(canvas) - 14))


def _text(canvas: Image, words: str, at: tuple[int, int], colour: Colour = _INK, size: float = _SIZE) -> None:
    """Write words from a column on, on the baseline of a row."""
    cv2.putText(canvas, words, at, _FONT, size, colour, 1 + (size == _LARGE), cv2.LINE_AA)


def _width(words: str, size: float = _SIZE) -> int:
    return int(cv2.getTextSize(words, _FONT, size, 1 + (size == _LARGE))[0][0])
